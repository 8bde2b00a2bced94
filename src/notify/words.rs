//! Small pieces of text for people, safe to put into a Slack message. No I/O. No clock.

use std::collections::BTreeSet;

use jiff::{SignedDuration, Timestamp};

use crate::api::serin::Images;

/// Cuts `text` to at most `limit` characters, on one line, without control characters.
pub(super) fn clip(text: &str, limit: usize) -> String {
    let clean = |c: char| if c.is_control() { ' ' } else { c };
    if text.chars().count() <= limit {
        return text.chars().map(clean).collect();
    }
    let mut short: String = text.chars().take(limit.saturating_sub(1)).map(clean).collect();
    short.push('…');
    short
}

/// Text as Slack shows it literally: no mention, link or entity of ours can arise from what others wrote.
pub(super) fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

/// Something that others wrote, cut to `limit` characters and escaped.
pub(super) fn plain(text: &str, limit: usize) -> String {
    escape(&clip(text, limit))
}

/// The same as a code span.
pub(super) fn code(text: &str, limit: usize) -> String {
    format!("`{}`", plain(text, limit).replace('`', "'"))
}

/// `text` as a link to `address`, or the address itself where it is not one that may be linked.
pub(super) fn link(address: &str, text: &str) -> String {
    let is_web = address.starts_with("https://") || address.starts_with("http://");
    let is_clean = !address.contains(['<', '>', '|', '`']) && !address.contains(char::is_whitespace);
    if is_web && is_clean && address.chars().count() <= 1000 {
        format!("<{}|{}>", escape(address), escape(text))
    } else {
        format!("{} {}", escape(text), code(address, 200))
    }
}

/// `9 min 12 s`; the two largest units. Negative counts as nothing.
pub(super) fn lasting(time: SignedDuration) -> String {
    let seconds = time.as_secs().max(0);
    let (days, hours, minutes) = (seconds / 86_400, seconds / 3_600 % 24, seconds / 60 % 60);
    let parts = [(days, "d"), (hours, "h"), (minutes, "min"), (seconds % 60, "s")];
    let first = parts.iter().position(|(count, _)| *count > 0).unwrap_or(3);
    let shown = parts.iter().skip(first).take(2).filter(|(count, _)| *count > 0 || first == 3);
    shown.map(|(count, unit)| format!("{count} {unit}")).collect::<Vec<_>>().join(" ")
}

/// `12:03:04 UTC`.
pub(super) fn time_of_day(at: Timestamp) -> String {
    at.strftime("%H:%M:%S UTC").to_string()
}

/// How two versions are called next to each other: `v1.2.0` and `v1.1.0` where only a tag differs, whole images
/// where more does, pod hashes where no image is known.
pub(super) fn versions(bad: (&str, &Images), good: (&str, &Images)) -> (String, String) {
    let names: BTreeSet<&String> = bad.1.keys().chain(good.1.keys()).collect();
    let differing: Vec<&String> =
        names.into_iter().filter(|name| bad.1.get(*name) != good.1.get(*name)).collect();
    let name = |own: (&str, &Images), other: &Images| {
        let parts: Vec<String> = differing
            .iter()
            .filter_map(|container| {
                let image = own.1.get(*container)?;
                let short = short_name(image, other.get(*container).map(String::as_str));
                Some(if differing.len() > 1 { format!("{container} {short}") } else { short })
            })
            .take(3)
            .collect();
        if parts.is_empty() {
            format!("the version with hash {}", own.0)
        } else {
            clip(&parts.join(", "), 120)
        }
    };
    (name(bad, good.1), name(good, bad.1))
}

/// The tag or digest alone where the repository is that of `other` (or there is no other), else the whole image.
fn short_name(image: &str, other: Option<&str>) -> String {
    let (repository, version) = split(image);
    let is_same = other.is_none_or(|other| split(other).0 == repository);
    match version {
        Some(version) if is_same => match version.split_once(':') {
            Some((_, digest)) => digest.chars().take(12).collect(),
            None => version.to_owned(),
        },
        _ => image.to_owned(),
    }
}

/// `repo:tag` and `repo@sha256:hex` into repository and version; a port is not a tag.
fn split(image: &str) -> (&str, Option<&str>) {
    if let Some((repository, digest)) = image.split_once('@') {
        return (split(repository).0, Some(digest));
    }
    match image.rsplit_once(':') {
        Some((repository, tag)) if !tag.contains('/') => (repository, Some(tag)),
        _ => (image, None),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn images(pairs: &[(&str, &str)]) -> Images {
        pairs.iter().map(|&(name, image)| (name.to_owned(), image.to_owned())).collect()
    }

    fn called(bad: &[(&str, &str)], good: &[(&str, &str)]) -> (String, String) {
        versions(("bad1", &images(bad)), ("good1", &images(good)))
    }

    #[test]
    fn versions_are_called_by_what_differs() {
        let name = |bad: &str, good: &str| called(&[("app", bad)], &[("app", good)]);
        assert_eq!(name("r.io:5000/app:v1.2.0", "r.io:5000/app:v1.1.0"), ("v1.2.0".into(), "v1.1.0".into()));
        assert_eq!(name("app", "app:v1"), ("app".into(), "v1".into()));
        assert_eq!(name("a/app:v2", "b/app:v1"), ("a/app:v2".into(), "b/app:v1".into()));
        assert_eq!(
            name("app@sha256:0123456789abcdef", "app:v1@sha256:fedcba9876543210"),
            ("0123456789ab".into(), "fedcba987654".into())
        );
        assert_eq!(
            called(
                &[("app", "a:2"), ("side", "s:2"), ("same", "x:1")],
                &[("app", "a:1"), ("side", "s:1"), ("same", "x:1")]
            ),
            ("app 2, side 2".into(), "app 1, side 1".into())
        );
        assert_eq!(called(&[], &[]).0, "the version with hash bad1");
        assert_eq!(called(&[("app", "a:2")], &[]), ("2".into(), "the version with hash good1".into()));
    }

    #[test]
    fn durations_show_their_two_largest_units() {
        let text = |seconds| lasting(SignedDuration::from_secs(seconds));
        assert_eq!(text(-5), "0 s");
        assert_eq!(text(59), "59 s");
        assert_eq!(text(552), "9 min 12 s");
        assert_eq!(text(3600), "1 h");
        assert_eq!(text(90_061), "1 d 1 h");
    }

    #[test]
    fn links_are_made_only_of_plain_web_addresses() {
        assert_eq!(link("https://git.io/a?b=1&c=2", "PR"), "<https://git.io/a?b=1&amp;c=2|PR>");
        assert_eq!(link("https://x|<!channel>", "PR"), "PR `https://x|&lt;!channel&gt;`");
        assert_eq!(link("javascript:alert(1)", "PR"), "PR `javascript:alert(1)`");
    }

    proptest! {
        #[test]
        fn nothing_that_others_wrote_can_mention_link_or_break_out(text in ".{0,80}", limit in 1_usize..60) {
            for shown in [plain(&text, limit), code(&text, limit)] {
                prop_assert!(!shown.contains(['<', '>']));
                prop_assert!(!shown.contains(char::is_control));
                prop_assert!(shown.matches('&').count() == shown.matches("&amp;").count() + shown.matches("&lt;").count() + shown.matches("&gt;").count());
            }
            prop_assert!(code(&text, limit).matches('`').count() == 2);
            prop_assert!(clip(&text, limit).chars().count() <= limit);
        }
    }
}
