//! What a failure in a lane means: where the revert stands then, why, and what a person can do. Pure.

use super::{
    access::AccessError,
    commit::CommitError,
    heal::Standing,
    lane::LaneError,
    transfer::{Disposition, Failure},
};
use crate::api::serin::{GitLocation, Phase};

/// Reasons that say nothing of what the branch holds, because it could not be read.
const IN_THE_DARK: &[&str] = &[
    "RemoteUnreachable",
    "RemoteNotFound",
    "Unauthorized",
    "CertificateRefused",
    "HostKeyRefused",
    "Redirected",
    "RepositoryTooLarge",
    "SecretNotNamed",
    "SecretMissing",
    "SecretForbidden",
    "SecretUnusable",
    "CloneDamaged",
    "TransferFailed",
];

/// True where nobody knows whether Git holds the good version.
pub(super) fn is_in_the_dark(reason: &str) -> bool {
    IN_THE_DARK.contains(&reason)
}

/// Where a revert stands after a failure; `None`: the race was lost, decide again at once.
pub(super) fn standing(error: &LaneError, git: &GitLocation) -> Option<Standing> {
    match error {
        LaneError::Transfer(failure) => transfer(failure, git),
        LaneError::Access(error) => Some(access(error)),
        LaneError::Commit(error) => Some(match error {
            CommitError::Store(_) => Standing::new(Phase::Pending, "CloneDamaged", error.to_string()),
            CommitError::PathRefused(_)
            | CommitError::FileMissing(_)
            | CommitError::NotAFile(_)
            | CommitError::TooLarge { .. } => Standing::new(Phase::Blocked, error.into(), error.to_string()),
        }),
    }
}

fn access(error: &AccessError) -> Standing {
    let reason = match error {
        AccessError::SecretNotNamed => "SecretNotNamed",
        AccessError::SecretMissing(_) => "SecretMissing",
        AccessError::SecretForbidden(_) => "SecretForbidden",
        AccessError::KeyMissing { .. } | AccessError::ValueUnusable { .. } => "SecretUnusable",
    };
    Standing::new(Phase::Blocked, reason, error.to_string())
}

fn transfer(failure: &Failure, git: &GitLocation) -> Option<Standing> {
    let phase = match failure.disposition() {
        Disposition::Again => return None,
        Disposition::Retry => Phase::Pending,
        Disposition::Stall => Phase::Blocked,
    };
    let (reason, advice) = advice(failure, git);
    Some(Standing::new(phase, reason, format!("{failure}; {advice}")))
}

/// The reason in one word, and what to do.
fn advice(failure: &Failure, git: &GitLocation) -> (&'static str, String) {
    let secret = git.secret_ref.as_ref().map_or_else(
        || "name a Secret in `git.secretRef`".to_owned(),
        |secret| format!("check the Secret `{}`", secret.name),
    );
    let branch = &git.branch;
    match failure {
        Failure::Refused(_) => (
            "PushRefused",
            format!("allow the bot to push to `{branch}` without a review, or revert by hand"),
        ),
        Failure::Unauthorized(_) => (
            "Unauthorized",
            format!("{secret}: is it still valid, and may it read and push this repository?"),
        ),
        Failure::Certificate(_) => (
            "CertificateRefused",
            "nothing was sent; put right the server's certificate, or `git.caSecretRef`".into(),
        ),
        Failure::HostKey(_) => (
            "HostKeyRefused",
            format!(
                "nothing was sent; ask the server's owner, and if the key is right {secret}, key `known_hosts`"
            ),
        ),
        Failure::Key(_) => ("SecretUnusable", format!("{secret}, keys `identity` and `password`")),
        Failure::Redirected(_) => ("Redirected", "write the final address into `git.url`".into()),
        Failure::NotFound(_) => {
            ("RemoteNotFound", format!("check `git.url`; where the repository is private {secret}"))
        }
        Failure::NoBranch(_) => ("NoBranch", "check `git.branch`".into()),
        Failure::TooLarge { .. } => {
            ("RepositoryTooLarge", "raise --max-fetch-bytes, or keep the manifests in a smaller one".into())
        }
        Failure::Unreachable(_) | Failure::TimedOut(_) => ("RemoteUnreachable", "tried again".into()),
        Failure::Clone(_) => ("CloneDamaged", "fetched anew".into()),
        Failure::Raced => ("Raced", "decided again".into()),
        Failure::Process(_) => ("TransferFailed", "tried again".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::serin::SecretReference;

    fn git(secret: Option<&str>) -> GitLocation {
        let secret_ref = secret.map(|name| SecretReference { name: name.into() });
        GitLocation { branch: "main".into(), secret_ref, ..GitLocation::default() }
    }

    #[test]
    fn a_lost_race_is_no_trouble_and_an_outage_needs_nobody() {
        let of = |failure: Failure| transfer(&failure, &git(None));
        assert_eq!(of(Failure::Raced), None);
        assert_eq!(of(Failure::TimedOut(60)).unwrap().phase, Phase::Pending);
        assert_eq!(of(Failure::Unreachable("x".into())).unwrap().phase, Phase::Pending);
    }

    #[test]
    fn what_a_person_has_to_do_names_the_secret() {
        let of = |secret| transfer(&Failure::Unauthorized("x".into()), &git(secret)).unwrap();
        assert_eq!(of(None).phase, Phase::Blocked);
        assert!(of(None).message.contains("name a Secret in `git.secretRef`"));
        assert!(of(Some("git")).message.contains("check the Secret `git`"));
    }

    #[test]
    fn a_revert_that_cannot_be_read_is_not_said_to_be_undone() {
        for failure in
            [Failure::HostKey(String::new()), Failure::Certificate(String::new()), Failure::TimedOut(1)]
        {
            assert!(is_in_the_dark(transfer(&failure, &git(None)).unwrap().reason));
        }
        let refused = transfer(&Failure::Refused(String::new()), &git(None)).unwrap();
        assert!(!is_in_the_dark(refused.reason));
    }
}
