//! The pages of `/metrics`, read by Prometheus's own checker.

use std::{
    io::Write as _,
    process::{Command, Stdio},
};

use serin::telemetry::{Metrics, RolloutFacts, SelfHealFacts, Snapshot};

/// The reference's names that Prometheus's linter would name otherwise; dashboards ask for them as they are.
const AS_THE_REFERENCE_NAMES_THEM: [&str; 5] = [
    "rollout_reconcile_error",
    "analysis_run_reconcile_error",
    "notification_send_success",
    "notification_send_error",
    "rollout_events_total",
];

/// Fails where Prometheus cannot read the page, or complains of a name that is ours.
pub(crate) fn check(page: &str) {
    let mut child = Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("promtool comes with Debian's package prometheus");
    child.stdin.take().unwrap().write_all(page.as_bytes()).unwrap();
    let checked = child.wait_with_output().unwrap();
    let said = String::from_utf8(checked.stderr).unwrap();
    for line in said.lines() {
        let name = line.split_whitespace().next().unwrap_or_default();
        assert!(AS_THE_REFERENCE_NAMES_THEM.contains(&name), "{said}");
    }
    // 3: read, with remarks.
    assert!(matches!(checked.status.code(), Some(0 | 3)), "{said}");
}

#[test]
fn prometheuss_own_checker_reads_every_family_and_complains_of_the_references_names_only() {
    for role in ["controller", "gitops"] {
        let metrics = Metrics::of_role("0.1.0", role);
        metrics.pass("shop", "cart", 0.02, true);
        metrics.run_pass("shop", "smoke", 0.02, false);
        metrics.event("shop", "cart", "Warning", "RolloutAborted");
        metrics.request("rollouts", "Patch", 409, 0.01);
        metrics.notified("shop", "cart", "RolloutAborted", 0.3, true);
        metrics.shed("shop", "cart", 0.02);
        metrics.not_moved("shop", "cart", Some(1_700_000_000.0));
        metrics.verdict_lag("shop", "cart", 0.2);
        metrics.violation("I4");
        metrics.leading("serin-gitops", true);
        metrics.spans("dropped", 3);
        let heal = SelfHealFacts { rollout: "cart".into(), created: String::new(), phase: "Blocked" };
        metrics.self_heal("shop", "cart-b", Some(heal));
        let rollout =
            RolloutFacts { namespace: "shop".into(), name: "ca\"rt\n".into(), ..RolloutFacts::default() };
        check(&metrics.render(Snapshot { rollouts: vec![rollout], ..Snapshot::default() }));
    }
}
