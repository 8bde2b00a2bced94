use std::time::Duration;

use super::*;

fn snapshot() -> Snapshot {
    Snapshot {
        rollouts: vec![RolloutFacts {
            namespace: "shop".to_owned(),
            name: "cart".to_owned(),
            strategy: "canary",
            traffic_router: "Istio",
            phase: "Abort",
            desired: 10,
            available: 9,
            unavailable: 1,
            updated: 2,
            is_contested: true,
            is_blind: false,
        }],
        runs: vec![RunFacts {
            namespace: "shop".into(),
            name: "cart-2".into(),
            phase: "Failed",
            metrics: vec![MetricFacts { name: "errors".into(), is_dry_run: false, phase: "Failed" }],
        }],
        templates: vec![("shop".into(), "error-rate".into())],
        queue: QueueFacts { depth: 3, oldest: Duration::from_millis(1500), running: 2 },
    }
}

/// Everything that can be counted, counted once.
fn counted(role: &'static str) -> Metrics {
    let metrics = Metrics::of_role("0.1.0", role);
    metrics.pass("shop", "cart", 0.02, true);
    metrics.run_pass("shop", "smoke", 0.02, false);
    metrics.event("shop", "cart", "Warning", "RolloutAborted");
    metrics.request("rollouts", "Patch", 409, 0.01);
    metrics.request("rollouts", "Watch", 200, 0.01);
    metrics.notified("shop", "cart", "RolloutAborted", 0.3, true);
    metrics.shed("shop", "cart", 0.02);
    metrics.not_moved("shop", "cart", Some(1_700_000_000.0));
    metrics.verdict_lag("shop", "cart", 0.2);
    metrics.violation("I4");
    metrics.leading("argo-rollouts-controller-lock", true);
    metrics.spans("dropped", 3);
    for (name, created, phase) in
        [("cart-b", "2026-01-02T00:00:00Z", "Blocked"), ("cart-a", "2026-01-01T00:00:00Z", "Synced")]
    {
        let facts = SelfHealFacts { rollout: "cart".into(), created: created.into(), phase };
        metrics.self_heal("shop", name, Some(facts));
    }
    metrics
}

fn has_lines(page: &str, lines: &[&str]) {
    for line in lines {
        assert!(page.lines().any(|have| have == *line), "missing {line} in\n{page}");
    }
}

#[test]
fn the_page_has_the_references_names_and_ours() {
    let page = counted("controller").render(snapshot());
    has_lines(
        &page,
        &[
            r#"rollout_info{namespace="shop",name="cart",strategy="canary",traffic_router="Istio",phase="Abort"} 1.0"#,
            r#"rollout_phase{namespace="shop",name="cart",strategy="canary",phase="Abort"} 1.0"#,
            r#"rollout_phase{namespace="shop",name="cart",strategy="canary",phase="Paused"} 0.0"#,
            r#"rollout_info_replicas_unavailable{namespace="shop",name="cart"} 1.0"#,
            "# TYPE rollout_reconcile_error counter",
            r#"rollout_reconcile_error{namespace="shop",name="cart"} 1.0"#,
            r#"rollout_reconcile_bucket{le="0.15",namespace="shop",name="cart"} 1"#,
            r#"analysis_run_reconcile_count{namespace="shop",name="smoke"} 1"#,
            r#"analysis_run_reconcile_error{namespace="shop",name="smoke"} 0.0"#,
            "# TYPE rollout_events_total counter",
            r#"rollout_events_total{namespace="shop",name="cart",type="Warning",reason="RolloutAborted"} 1.0"#,
            r#"controller_clientset_k8s_request_total{kind="rollouts",verb="Patch",status_code="409"} 1.0"#,
            r#"notification_send_error{namespace="shop",name="cart",type="Warning",reason="RolloutAborted"} 1.0"#,
            r#"notification_send_success{namespace="shop",name="cart",type="Warning",reason="RolloutAborted"} 0.0"#,
            r#"rollout_sample_to_shed_seconds_bucket{le="0.025",namespace="shop",name="cart"} 1"#,
            r#"rollout_traffic_not_moved_since_timestamp_seconds{namespace="shop",name="cart"} 1700000000.0"#,
            r#"rollout_traffic_contested{namespace="shop",name="cart"} 1.0"#,
            r#"rollout_metrics_unavailable{namespace="shop",name="cart"} 0.0"#,
            r#"rollout_invariant_violations_total{invariant="I4"} 1.0"#,
            r#"rollout_leader{lease="argo-rollouts-controller-lock",role="controller"} 1.0"#,
            r#"analysis_run_info{namespace="shop",name="cart-2",phase="Failed"} 1.0"#,
            r#"analysis_run_metric_type{namespace="shop",name="cart-2",metric="errors",type="Prometheus"} 1.0"#,
            r#"analysis_run_metric_phase{namespace="shop",name="cart-2",metric="errors",type="Prometheus",dry_run="false",phase="Failed"} 1.0"#,
            r#"analysis_template_info{namespace="shop",name="error-rate"} 1.0"#,
            "rollout_queue_depth 3.0",
            "rollout_queue_oldest_seconds 1.5",
            r#"rollout_trace_spans_total{outcome="dropped"} 3.0"#,
            r#"argo_rollouts_controller_info{version="0.1.0"} 1.0"#,
            r#"serin_info{version="0.1.0",role="controller"} 1.0"#,
        ],
    );
    assert!(!page.contains("rollout_self_heal"), "the Git role counts them");
    assert!(!page.contains("# EOF"), "{page}");
}

#[test]
fn the_git_roles_page_names_the_newest_self_heal_of_each_rollout() {
    let page = counted("gitops").render(Snapshot::default());
    has_lines(
        &page,
        &[
            r#"rollout_self_heals{phase="Blocked"} 1.0"#,
            r#"rollout_self_heals{phase="Synced"} 1.0"#,
            r#"rollout_self_heal_info{namespace="shop",name="cart",self_heal="cart-b",phase="Blocked"} 1.0"#,
            r#"serin_info{version="0.1.0",role="gitops"} 1.0"#,
        ],
    );
    assert!(!page.contains("cart-a") && !page.contains("argo_rollouts_controller_info"), "{page}");
}

#[test]
fn every_family_says_what_it_is_in_one_line_that_ends() {
    let page = counted("controller").render(snapshot());
    let helps: Vec<&str> = page.lines().filter(|line| line.starts_with("# HELP ")).collect();
    let types = page.lines().filter(|line| line.starts_with("# TYPE ")).count();
    assert_eq!(helps.len(), types);
    for help in helps {
        let text = help.splitn(4, ' ').nth(3).unwrap_or_default();
        assert!(text.ends_with('.') && text.len() > 10 && !text.contains("  "), "{help}");
    }
}

#[test]
fn hostile_names_cannot_break_a_line() {
    let metrics = Metrics::new("0.1.0");
    metrics.violation("a\"b\nc\\d");
    let page = metrics.render(Snapshot::default());
    assert!(page.contains(r#"rollout_invariant_violations_total{invariant="a\"b\nc\\d"} 1.0"#), "{page}");
}

#[test]
fn series_of_deleted_objects_end() {
    let metrics = counted("controller");
    metrics.pass("shop", "till", 0.02, true);
    metrics.forget("shop", "cart");
    metrics.forget_run("shop", "smoke");
    let page = metrics.render(Snapshot::default());
    assert!(!page.contains("cart") && !page.contains("smoke"), "{page}");
    assert!(page.contains("till"));
    let gitops = counted("gitops");
    gitops.self_heal("shop", "cart-b", None);
    assert!(gitops.render(Snapshot::default()).contains(r#"self_heal="cart-a",phase="Synced""#));
}

#[test]
fn a_shed_can_be_seen_as_an_increase_from_nothing() {
    let metrics = Metrics::new("0.1.0");
    metrics.pass("shop", "cart", 0.02, false);
    let page = metrics.render(Snapshot::default());
    has_lines(&page, &[r#"rollout_sample_to_shed_seconds_count{namespace="shop",name="cart"} 0"#]);
}
