//! Who plays: the manifests of the shop, the versions before and after, and how the new one behaves.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
    time::Duration,
};

use serde_json::Value;

use super::{check, plot, prometheus::Behaviour, scenario::Scenario};
use crate::{api::rollout, decide::spec::Step, domain::Key};

/// The files in Git and what changes in them.
#[derive(Clone, Debug)]
pub struct Cast {
    /// Path in the repository and text. The first holds the Rollout.
    pub files: Vec<(String, String)>,
    /// The Rollout, and the VirtualService that its routes are in.
    pub rollout: Key,
    pub virtual_service: Key,
    pub services: crate::decide::spec::Services,
    /// Images before and after, and of the version that a person makes after that one.
    pub old_image: String,
    pub new_image: String,
    pub fixed_image: String,
    /// The canary's weight in the middle of the steps: that of the second setWeight.
    pub halfway: i64,
    /// How long its steps pause in all.
    pub pauses: Duration,
    /// The addresses of Prometheus that its templates name. The stage's own takes their place.
    pub addresses: BTreeSet<String>,
}

/// Why a cast cannot play.
#[derive(Debug, thiserror::Error)]
pub enum CastError {
    #[error("cannot read {path}: {source}")]
    Read { path: PathBuf, source: std::io::Error },
    #[error("{path} is not YAML that can be read: {message}")]
    Yaml { path: String, message: String },
    #[error(
        "no Rollout was found in the manifests; the demo needs one Rollout, its VirtualService and its templates"
    )]
    NoRollout,
    #[error("more than one Rollout was found: {0}; the demo plays one at a time")]
    ManyRollouts(String),
    #[error("the Rollout cannot be played: {0}")]
    Refused(String),
    #[error("the Rollout's first container has no image with a tag, so there is no next version to play")]
    NoImage,
}

const BUILT_IN: &[(&str, &str)] = &[
    ("shop/rollout.yaml", include_str!("story/rollout.yaml")),
    ("shop/traffic.yaml", include_str!("story/traffic.yaml")),
    ("shop/policy.yaml", include_str!("story/policy.yaml")),
    ("shop/error-rate.yaml", include_str!("../../../analysis-templates/error-rate.yaml")),
    ("shop/success-rate.yaml", include_str!("../../../analysis-templates/success-rate.yaml")),
];

/// What `bad-pods` adds to the Rollout: crash-looping pods count as a failure after two minutes without progress.
const DEADLINE: &str = "  progressDeadlineSeconds: 120\n  progressDeadlineAbort: true\n";
/// What it changes in the policy: by default only a metric that failed is reverted in Git.
const MODE: &str = "  mode: Push\n";
const BAD_PODS: &str = "  mode: Push\n  on: [MetricFailed, ProgressDeadline]\n";

/// Where objects without a namespace go.
pub const NAMESPACE: &str = "shop";

/// What a folder of manifests holds.
#[derive(Default)]
struct Found {
    /// Each with the place of its file.
    rollouts: Vec<(usize, Value)>,
    has_policy: bool,
    /// Names of Services.
    services: Vec<String>,
    objects: Vec<Value>,
}

impl Found {
    fn read(files: &[(String, String)]) -> Result<Self, CastError> {
        let mut found = Self::default();
        for (index, (path, text)) in files.iter().enumerate() {
            for object in documents(path, text)? {
                found.objects.push(object.clone());
                match object["kind"].as_str() {
                    Some("Rollout") => found.rollouts.push((index, object)),
                    Some("SelfHealPolicy") => found.has_policy = true,
                    Some("Service") => {
                        found
                            .services
                            .push(object["metadata"]["name"].as_str().unwrap_or_default().to_owned());
                    }
                    _ => {}
                }
            }
        }
        Ok(found)
    }
}

fn the_one(mut rollouts: Vec<(usize, Value)>) -> Result<(usize, Value), CastError> {
    if rollouts.len() > 1 {
        let names =
            rollouts.iter().map(|(_, object)| object["metadata"]["name"].as_str().unwrap_or("?").to_owned());
        return Err(CastError::ManyRollouts(names.collect::<Vec<_>>().join(", ")));
    }
    rollouts.pop().ok_or(CastError::NoRollout)
}

impl Cast {
    /// The shop of the README, as far as this scenario needs it otherwise.
    ///
    /// # Errors
    /// None but a mistake in the built-in manifests.
    pub fn built_in(scenario: Scenario) -> Result<Self, CastError> {
        let changed = |text: &str| {
            if scenario == Scenario::BadPods {
                let spec = format!("  replicas: 10\n{DEADLINE}");
                text.replace("  replicas: 10\n", &spec).replace(MODE, BAD_PODS)
            } else {
                text.to_owned()
            }
        };
        Self::of(BUILT_IN.iter().map(|(path, text)| ((*path).to_owned(), changed(text))).collect(), scenario)
    }

    /// The reader's own manifests: every `.yaml` and `.yml` directly in `folder`.
    ///
    /// # Errors
    /// The folder cannot be read, or holds no Rollout that can be played in this scenario.
    pub fn read(folder: &Path, scenario: Scenario) -> Result<Self, CastError> {
        let fail = |source| CastError::Read { path: folder.to_owned(), source };
        let mut files = vec![];
        for entry in std::fs::read_dir(folder).map_err(fail)? {
            let path = entry.map_err(fail)?.path();
            let is_yaml = path.extension().is_some_and(|ending| ending == "yaml" || ending == "yml");
            let Some(name) = path.file_name().and_then(|name| name.to_str()).filter(|_| is_yaml) else {
                continue;
            };
            let text = std::fs::read_to_string(&path)
                .map_err(|source| CastError::Read { path: path.clone(), source })?;
            files.push((format!("manifests/{name}"), text));
        }
        files.sort();
        Self::of(files, scenario)
    }

    fn of(mut files: Vec<(String, String)>, scenario: Scenario) -> Result<Self, CastError> {
        let Found { rollouts, has_policy, services, objects } = Found::read(&files)?;
        let (index, mut object) = the_one(rollouts)?;
        check::identity(&object).map_err(CastError::Refused)?;
        if object["metadata"].get("namespace").is_none() {
            object["metadata"]["namespace"] = NAMESPACE.into();
        }
        let old_image = image(&object).ok_or(CastError::NoImage)?;
        let new_image = next(&old_image, 2).ok_or(CastError::NoImage)?;
        let fixed_image = next(&new_image, 1).ok_or(CastError::NoImage)?;
        let parsed = rollout::parse(object);
        match &parsed.rollout.spec {
            Err(error) => return Err(CastError::Refused(error.to_string())),
            Ok(spec) if scenario == Scenario::BadPods && !spec.progress_deadline_abort => {
                let why = "bad-pods needs `progressDeadlineAbort: true` in the Rollout's spec";
                return Err(CastError::Refused(why.to_owned()));
            }
            Ok(_) => {}
        }
        let halfway = parsed.rollout.spec.as_ref().map_or(0, |spec| halfway(&spec.steps));
        let traffic = parsed
            .rollout
            .traffic
            .clone()
            .ok_or_else(|| CastError::Refused("it has no traffic routing".to_owned()))?;
        let wants_analysis = plot::behaviour(scenario) != Behaviour::Good;
        check::playable(&objects, &parsed, &traffic, wants_analysis).map_err(CastError::Refused)?;
        let pauses = parsed.rollout.spec.as_ref().map_or(Duration::ZERO, |spec| check::pauses(&spec.steps));
        files.swap(0, index);
        let path = files.first().map(|(path, _)| path.clone()).ok_or(CastError::NoRollout)?;
        let rollout = parsed.rollout.key.clone();
        for name in [&traffic.services.stable, &traffic.services.canary] {
            if !services.contains(name) {
                files.push((
                    format!("manifests/service-{name}.yaml"),
                    service(name, &parsed, &rollout.namespace),
                ));
            }
        }
        if !has_policy {
            files.push((
                "manifests/self-heal-policy.yaml".to_owned(),
                policy(&path, &rollout.namespace, scenario),
            ));
        }
        Ok(Self {
            files,
            virtual_service: traffic.virtual_service,
            services: traffic.services,
            rollout,
            old_image,
            new_image,
            fixed_image,
            halfway,
            pauses,
            addresses: check::addresses(&objects),
        })
    }

    /// Path and text of the file with the Rollout, with this image in it.
    pub fn with_image(&self, image: &str) -> (&str, String) {
        let (path, text) =
            self.files.first().map(|(path, text)| (path.as_str(), text.as_str())).unwrap_or_default();
        (path, text.replace(&self.old_image, image))
    }

    /// Tag of the version before and after.
    pub fn versions(&self) -> (&str, &str) {
        (tag(&self.old_image), tag(&self.new_image))
    }
}

/// What follows the last colon of an image, but not a registry's port.
pub fn tag(image: &str) -> &str {
    image.rsplit_once(':').map(|(_, tag)| tag).filter(|tag| !tag.contains('/')).unwrap_or(image)
}

fn halfway(steps: &[Step]) -> i64 {
    let weights: Vec<i64> = steps
        .iter()
        .filter_map(|step| match step {
            Step::SetWeight(weight) => Some(i64::from(weight.percent())),
            Step::Pause { .. } | Step::Analysis => None,
        })
        .collect();
    weights.get(1).or(weights.first()).copied().unwrap_or(100)
}

fn documents(path: &str, text: &str) -> Result<Vec<Value>, CastError> {
    serde_saphyr::from_multiple(text)
        .map_err(|error| CastError::Yaml { path: path.to_owned(), message: error.to_string() })
}

fn image(rollout: &Value) -> Option<String> {
    let image = rollout["spec"]["template"]["spec"]["containers"][0]["image"].as_str()?;
    (tag(image) != image).then(|| image.to_owned())
}

/// The image of a later version: the number at `place` from the end of the tag counts up (`v1.1.0` to `v1.2.0` with
/// 2, `v1.2.0` to `v1.2.1` with 1); a tag without such a number gets `-next`.
fn next(image: &str, place: usize) -> Option<String> {
    let (name, tag) = image.rsplit_once(':')?;
    let mut parts: Vec<String> = tag.split('.').map(str::to_owned).collect();
    let part = parts.len().checked_sub(place).and_then(|at| parts.get_mut(at));
    let counted = part.and_then(|part| {
        let digits = part.len() - part.chars().rev().take_while(char::is_ascii_digit).count();
        let number: u64 = part.get(digits..)?.parse().ok()?;
        *part = format!("{}{}", part.get(..digits)?, number.checked_add(1)?);
        Some(())
    });
    Some(match counted {
        Some(()) => format!("{name}:{}", parts.join(".")),
        None => format!("{name}:{tag}-next"),
    })
}

fn service(name: &str, parsed: &rollout::Parsed, namespace: &str) -> String {
    let labels = parsed.rollout.spec.as_ref().map(|spec| spec.match_labels.clone()).unwrap_or_default();
    let labels: Vec<String> = labels.iter().map(|(key, value)| format!("    {key}: \"{value}\"\n")).collect();
    format!(
        "apiVersion: v1\nkind: Service\nmetadata:\n  name: {name}\n  namespace: {namespace}\nspec:\n  ports:\n  - port: 80\n    targetPort: 8080\n  selector:\n{}",
        labels.concat()
    )
}

fn policy(path: &str, namespace: &str, scenario: Scenario) -> String {
    let policy = include_str!("story/policy.yaml");
    let policy =
        if scenario == Scenario::BadPods { policy.replace(MODE, BAD_PODS) } else { policy.to_owned() };
    policy.replace("shop/rollout.yaml", path).replace("namespace: shop", &format!("namespace: {namespace}"))
}

#[cfg(test)]
mod tests {
    use clap::ValueEnum;

    use super::*;

    #[test]
    fn the_next_version_counts_up() {
        assert_eq!(next("a.b:5000/x:v1.1.0", 2).unwrap(), "a.b:5000/x:v1.2.0");
        assert_eq!(next("a.b:5000/x:v1.2.0", 1).unwrap(), "a.b:5000/x:v1.2.1");
        assert_eq!(next("x:v9.0", 2).unwrap(), "x:v10.0");
        assert_eq!(next("x:latest", 2).unwrap(), "x:latest-next");
    }

    #[test]
    fn the_built_in_story_can_be_played_in_every_scenario() {
        for scenario in Scenario::value_variants() {
            let cast = Cast::built_in(*scenario).unwrap();
            assert_eq!(cast.versions(), ("v1.1.0", "v1.2.0"));
            assert_eq!(cast.rollout, Key::new("shop", "myapp"));
            assert_eq!(cast.with_image(&cast.fixed_image).1.matches("v1.2.1").count(), 1);
        }
    }
}
