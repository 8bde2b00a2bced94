//! What people see outside of the cluster: Git and Slack.

use std::collections::BTreeSet;

use super::{
    Ending, Version, Wrong,
    case::{Case, Commit},
};

pub(super) fn git(case: &Case, ending: &Ending, wrong: &mut Wrong) {
    let (by_bot, by_people): (Vec<&Commit>, Vec<&Commit>) =
        case.commits.iter().partition(|commit| commit.author == case.names.bot);
    let wanted = ending.pushed.len() + 1;
    if by_people.len() != wanted {
        wrong.add(format!("people made {} commits instead of {wanted}", by_people.len()));
    }
    if !ending.is_reverted {
        if let Some(commit) = by_bot.first() {
            wrong.add(format!("the bot committed although it must not: {} {}", commit.id, commit.message));
        }
        return;
    }
    let [commit] = by_bot.as_slice() else {
        return wrong.add(format!("the bot made {} commits instead of one", by_bot.len()));
    };
    let later = ending.pushed.len() - 1;
    if case.commits.get(later).map(|commit| &commit.id) != Some(&commit.id) {
        wrong.add(format!("the bot's commit does not have {later} commits on top"));
    }
    reverts(case, commit, wrong);
}

/// The commit puts the old image back and changes nothing else.
fn reverts(case: &Case, commit: &Commit, wrong: &mut Wrong) {
    let subject = commit.message.lines().next().unwrap_or_default();
    let expected = format!("Auto-rollback to {}", Version::Old.tag(case));
    if subject != expected {
        wrong.add(format!("the subject is `{subject}`, not `{expected}`"));
    }
    let changed = |sign: char| {
        let header = sign.to_string().repeat(3);
        commit.patch.lines().filter(move |line| line.starts_with(sign) && !line.starts_with(&header))
    };
    let (added, removed): (Vec<_>, Vec<_>) = (changed('+').collect(), changed('-').collect());
    let (old, new) = (&case.names.old_image, &case.names.new_image);
    let swapped: Vec<_> =
        removed.iter().map(|line| line.replacen('-', "+", 1).replace(new.as_str(), old)).collect();
    if added.len() != 1 || removed.len() != 1 || swapped != added {
        wrong.add(format!("the commit changes more than the image:\n{}", commit.patch));
    }
}

pub(super) fn self_heals(case: &Case, ending: &Ending, wrong: &mut Wrong) {
    let phases: Vec<_> = case.all("SelfHeal").map(|heal| heal["status"]["phase"].as_str()).collect();
    let wanted: Vec<_> = ending.heal.into_iter().map(Some).collect();
    if phases != wanted {
        wrong.add(format!("the SelfHeals are {phases:?}, not {wanted:?}"));
    }
}

pub(super) fn slack(case: &Case, ending: &Ending, wrong: &mut Wrong) {
    // A rollout that came through is told to whoever asked for it, and to nobody else.
    let messages: Vec<_> =
        case.messages.iter().filter(|message| !message.text.starts_with("Completed: ")).collect();
    let wanted = ending.title.map_or(0, |title| channels(case, title));
    if messages.len() != wanted {
        let titles: Vec<_> = messages.iter().filter_map(|message| message.text.lines().next()).collect();
        let instead = match wanted {
            0 => "nothing".to_owned(),
            1 => "one message".to_owned(),
            many => format!("{many} messages"),
        };
        return wrong.add(format!("Slack has {titles:?} instead of {instead}"));
    }
    let Some(title) = ending.title else { return };
    let names = [ending.pushed.first().copied().unwrap_or(Version::New), Version::Old];
    for message in messages {
        if !message.text.starts_with(title) {
            let says = message.text.lines().next().unwrap_or_default();
            wrong.add(format!("Slack says `{says}`, not `{title}...`"));
        }
        for version in names.map(|version| version.tag(case)) {
            if !message.text.contains(version) {
                wrong.add(format!("the message in Slack does not name {version}: {}", message.text));
            }
        }
    }
}

/// How many channels the Rollout's annotations subscribe to the message of this title.
fn channels(case: &Case, title: &str) -> usize {
    let triggers: &[&str] = match title {
        "Paused: " => &["on-rollout-paused.", "on-analysis-run-inconclusive.", ""],
        "Aborted by a person: " => &["on-rollout-aborted.", ""],
        _ => &["on-rollout-aborted.", "on-analysis-run-failed.", ""],
    };
    let annotations = &case.rollout()["metadata"]["annotations"];
    let names = triggers.iter().filter_map(|trigger| {
        annotations[format!("notifications.argoproj.io/subscribe.{trigger}slack")].as_str()
    });
    names
        .flat_map(|names| names.split(';'))
        .map(str::trim)
        .filter(|name| !name.is_empty())
        .collect::<BTreeSet<_>>()
        .len()
}
