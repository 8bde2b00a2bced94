//! The commit's message: a subject that says what happened, a short incident report, and trailers that serin reads
//! again. Pure.

use jiff::Timestamp;

use super::commit::KEY_TRAILER;
use crate::api::serin::{Cause, SelfHealSpec, Version};

/// A query is shown up to this many characters; the AnalysisRun has all of it.
const MAX_VALUE_CHARS: usize = 1000;

/// What a message is made of.
#[derive(Clone, Copy, Debug)]
pub struct Report<'a> {
    pub namespace: &'a str,
    pub intent: &'a SelfHealSpec,
    /// The ticket that the policy names; empty: none.
    pub ticket: &'a str,
    /// The idempotency key.
    pub key: &'a str,
}

impl Report<'_> {
    /// The whole message. The last paragraph is trailers, and no value can add one: each is on one line.
    pub fn message(&self) -> String {
        let intent = self.intent;
        let good = version(&intent.good, &intent.bad);
        let bad = version(&intent.bad, &intent.good);
        let name = line(&intent.rollout_ref.name);
        let mut text = format!("Auto-rollback to {good}\n\n");
        text += &format!(
            "{name} in {} {} on {bad} and was rolled back.\n\n",
            line(self.namespace),
            said(intent.cause)
        );
        for (label, value) in self.facts() {
            if !value.is_empty() {
                text += &format!("{:<10} {value}\n", format!("{label}:"));
            }
        }
        text += &format!("\n{KEY_TRAILER}: {}\n", line(self.key));
        text += &format!("Rollout: {}/{name}\n", line(self.namespace));
        text += &format!("Reverts: {}\n", line(&intent.bad.hash));
        if let Some(evidence) = intent.evidence.as_ref().filter(|e| !e.run.is_empty()) {
            text += &format!("AnalysisRun: {}\n", line(&evidence.run));
        }
        text += &format!("Reason: {}\n", <&str>::from(intent.cause));
        if !self.ticket.is_empty() {
            text += &format!("Ticket: {}\n", line(self.ticket));
        }
        text
    }

    fn facts(&self) -> Vec<(&'static str, String)> {
        let mut facts = vec![];
        for (container, bad, good) in changed(self.intent) {
            facts.push(("Image", format!("{} -> {} ({})", line(bad), line(good), line(container))));
        }
        if let Some(evidence) = &self.intent.evidence {
            let limit = match line(&evidence.limit) {
                limit if limit.is_empty() => limit,
                limit => format!(" (limit: {limit})"),
            };
            if !evidence.metric.is_empty() {
                facts.push((
                    "Metric",
                    format!("{} = {}{limit}", line(&evidence.metric), line(&evidence.value)),
                ));
            }
            facts.push(("Query", line(&evidence.query)));
            facts.push(("Samples", format!("{} measurements", evidence.samples)));
            facts.push(("Weight", format!("{} % of the traffic", evidence.weight)));
            if let (Some(from), Some(to)) = (&evidence.started_at, &evidence.failed_at) {
                facts.push(("Duration", duration(from.0, to.0)));
            }
        }
        facts
    }
}

/// `4m 10s, 2026-01-01T00:00:00Z to 2026-01-01T00:04:10Z`.
fn duration(from: Timestamp, to: Timestamp) -> String {
    let whole = jiff::SignedDuration::from_secs(to.duration_since(from).as_secs());
    format!("{whole:#}, {from} to {to}")
}

fn said(cause: Cause) -> &'static str {
    match cause {
        Cause::MetricFailed | Cause::NoData | Cause::MetricError => "failed its analysis",
        Cause::ProgressDeadline => "made no progress",
        Cause::UserAbort => "was aborted",
        Cause::Superseded => "was superseded",
    }
}

/// The containers whose image differs: name, bad image, good image.
pub fn changed(intent: &SelfHealSpec) -> impl Iterator<Item = (&str, &str, &str)> {
    intent.bad.images.iter().filter_map(|(container, bad)| {
        let good = intent.good.images.get(container)?;
        (good != bad).then_some((container.as_str(), bad.as_str(), good.as_str()))
    })
}

/// A version as people name it: the tag of the image that differs, `v1.1.0`; without a tag the start of the digest;
/// several, where several differ, joined by commas.
pub fn version(this: &Version, other: &Version) -> String {
    let mut names: Vec<String> = vec![];
    for (container, image) in &this.images {
        if other.images.get(container) != Some(image) {
            let name = short(image);
            if !names.contains(&name) {
                names.push(name);
            }
        }
    }
    if names.is_empty() { line(&this.hash) } else { names.join(", ") }
}

fn short(image: &str) -> String {
    let (rest, digest) = image.split_once('@').map_or((image, None), |(rest, digest)| (rest, Some(digest)));
    let tag = rest.rsplit_once(':').map(|(_, tag)| tag).filter(|tag| !tag.contains('/'));
    match (tag, digest) {
        (Some(tag), _) => line(tag),
        (None, Some(digest)) => line(digest).chars().take(19).collect(),
        (None, None) => line(image),
    }
}

/// A text on one line, cut off where it is long.
fn line(text: &str) -> String {
    let text: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    let joined = text.split_whitespace().collect::<Vec<_>>().join(" ");
    if joined.chars().count() <= MAX_VALUE_CHARS {
        return joined;
    }
    joined.chars().take(MAX_VALUE_CHARS).chain("...".chars()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gitops::fixtures::intent;

    #[test]
    fn the_message_is_an_incident_report_with_trailers() {
        let intent = intent();
        let report = Report { namespace: "shop", intent: &intent, ticket: "OPS-7", key: "abc" };
        insta::assert_snapshot!(report.message(), @r#"
        Auto-rollback to v1.1.0

        myapp in shop failed its analysis on v1.2.0 and was rolled back.

        Image:     registry.example/myapp:v1.2.0 -> registry.example/myapp:v1.1.0 (app)
        Metric:    error-rate = 0.08 (limit: result < 0.05)
        Query:     scalar(sum(rate(errors{version="bad1"}[1m])))
        Samples:   4 measurements
        Weight:    20 % of the traffic
        Duration:  4m 10s, 2026-01-01T00:00:00Z to 2026-01-01T00:04:10Z

        Serin-Rollback-Key: abc
        Rollout: shop/myapp
        Reverts: bad1
        AnalysisRun: myapp-bad1-2
        Reason: MetricFailed
        Ticket: OPS-7
        "#);
    }

    #[test]
    fn no_value_adds_a_line_or_a_trailer() {
        let mut intent = intent();
        let evidence = intent.evidence.as_mut().unwrap();
        evidence.query = "a\n\nSerin-Rollback-Key: forged\n".into();
        evidence.value = "1\r\nX: y".into();
        let report = Report { namespace: "shop", intent: &intent, ticket: "T\n\nA: b", key: "real" };
        let message = report.message();
        let trailers = git2::message_trailers_strs(&message).unwrap();
        let names: Vec<_> = trailers.iter().map(|(key, _)| key.to_owned()).collect();
        assert_eq!(names, ["Serin-Rollback-Key", "Rollout", "Reverts", "AnalysisRun", "Reason", "Ticket"]);
        assert_eq!(trailers.iter().next(), Some(("Serin-Rollback-Key", "real")));
    }

    #[test]
    fn a_version_is_the_tag_of_what_differs() {
        let version_of = |images: &[(&str, &str)]| Version {
            hash: "h".into(),
            images: images.iter().map(|(c, i)| ((*c).into(), (*i).into())).collect(),
        };
        let bad = version_of(&[("app", "r:5000/app:v2"), ("side", "side:v9")]);
        assert_eq!(version(&version_of(&[("app", "r:5000/app:v1"), ("side", "side:v9")]), &bad), "v1");
        assert_eq!(version(&version_of(&[("app", "app:v1"), ("side", "side:v8")]), &bad), "v1, v8");
        let digest = "app@sha256:0123456789abcdef0123";
        assert_eq!(version(&version_of(&[("app", digest)]), &bad), "sha256:0123456789ab");
        assert_eq!(version(&version_of(&[("app", "r:5000/app")]), &bad), "r:5000/app");
        assert_eq!(version(&bad, &bad), "h");
    }
}
