//! What people see outside of the cluster: Git and Slack.

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
    if case.commits.first().map(|newest| &newest.id) != Some(&commit.id) {
        wrong.add("the bot's commit is not the newest");
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
    match (case.messages.as_slice(), ending.title) {
        ([], None) => {}
        ([message], Some(title)) => {
            if let Some(other) = Some(&message.text).filter(|text| !text.starts_with(title)) {
                wrong.add(format!(
                    "Slack says `{}`, not `{title}...`",
                    other.lines().next().unwrap_or_default()
                ));
            }
            let names = [ending.pushed.first().copied().unwrap_or(Version::New), Version::Old];
            for version in
                names.iter().map(|version| version.tag(case)).filter(|tag| !message.text.contains(tag))
            {
                wrong.add(format!("the message in Slack does not name {version}: {}", message.text));
            }
        }
        (messages, title) => {
            let titles: Vec<_> = messages.iter().filter_map(|message| message.text.lines().next()).collect();
            wrong.add(format!(
                "Slack has {titles:?} instead of {}",
                title.map_or("nothing", |_| "one message")
            ));
        }
    }
}
