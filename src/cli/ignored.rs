//! Flags of the reference controller that mean nothing to serin: other traffic routers, and how its parts are sized.
//! They are taken so that a Deployment of it starts with the image swapped.

use clap::{Arg, ArgAction, ArgMatches, Command, parser::ValueSource};

const FLAGS: &[&str] = &[
    "alb-ingress-classes",
    "alb-tag-key-resource-id",
    "alb-verify-weight",
    "ambassador-api-version",
    "analysis-threads",
    "appmesh-crd-version",
    "aws-target-group-binding-api-version",
    "aws-verify-target-group",
    "controllers",
    "enable-pprof-address",
    "ephemeral-metadata-threads",
    "ephemeral-metadata-update-pod-retries",
    "experiment-threads",
    "ingress-api-version",
    "ingress-threads",
    "klog-level",
    "kloglevel",
    "nginx-ingress-classes",
    "self-service-notification-enabled",
    "service-threads",
    "traefik-api-group",
    "traefik-api-version",
    "traffic-split-api-version",
];

/// The flags of this kind that were given.
#[derive(Clone, Debug, Default)]
pub(super) struct Ignored {
    given: Vec<String>,
}

impl Ignored {
    /// Says which were given.
    pub(super) fn warn(&self) {
        if !self.given.is_empty() {
            let flags = self.given.join(" ");
            tracing::warn!(flags = %flags, "Flags without a meaning for serin were given and are ignored: {flags}");
        }
    }
}

impl clap::Args for Ignored {
    fn augment_args(command: Command) -> Command {
        FLAGS.iter().fold(command, |command, flag| {
            let arg = Arg::new(*flag).long(*flag).num_args(0..=1).action(ArgAction::Append).hide(true);
            command.arg(arg)
        })
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

impl clap::FromArgMatches for Ignored {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let given = FLAGS.iter().filter(|flag| matches.value_source(flag) == Some(ValueSource::CommandLine));
        Ok(Self { given: given.map(|flag| format!("--{flag}")).collect() })
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}
