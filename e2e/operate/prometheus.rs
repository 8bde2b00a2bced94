//! The real Prometheus, with the rules of `deploy/` in a hurry.

use std::{collections::BTreeMap, fs, path::Path, time::Duration};

use regex::Regex;
use serde_json::Value;
use serin::clock::Clock;

use crate::{process::Process, rules_file};

/// Ranges and pauses of the rules as the test has them: long enough for some scrapes, short enough to be waited for.
const RANGE: &str = "20s";
const FOR: &str = "1s";

/// A running Prometheus.
pub(crate) struct Prometheus {
    address: String,
    client: reqwest::Client,
    _process: Process,
}

impl Prometheus {
    /// Starts it on the targets, by name of the job.
    pub(crate) async fn start(folder: &Path, targets: &[(&str, u16)]) -> Self {
        let rules = hurried(&fs::read_to_string(rules_file()).unwrap());
        fs::write(folder.join("serin.rules.yaml"), rules).unwrap();
        let jobs: String = targets
            .iter()
            .map(|(job, port)| {
                format!(
                    "- {{job_name: {job}, honor_labels: true, static_configs: [{{targets: ['127.0.0.1:{port}']}}]}}\n"
                )
            })
            .collect();
        let config = format!(
            "global: {{scrape_interval: 500ms, scrape_timeout: 500ms, evaluation_interval: 500ms}}\n\
             rule_files: [serin.rules.yaml]\nscrape_configs:\n{jobs}"
        );
        fs::write(folder.join("prometheus.yml"), config).unwrap();
        let port = free_port();
        let arguments = [
            "--config.file=prometheus.yml".to_owned(),
            "--storage.tsdb.path=prometheus".to_owned(),
            format!("--web.listen-address=127.0.0.1:{port}"),
        ];
        let process = Process::start(folder, "prometheus", "prometheus", &arguments);
        let client = reqwest::Client::builder().no_proxy().timeout(Duration::from_secs(5)).build().unwrap();
        let this = Self { address: format!("http://127.0.0.1:{port}"), client, _process: process };
        let ready = format!("{}/-/ready", this.address);
        within(Duration::from_secs(30), "Prometheus is ready", async || {
            let answer = this.client.get(&ready).send().await.map_err(|error| error.to_string())?;
            if answer.status().is_success() { Ok(()) } else { Err(answer.status().to_string()) }
        })
        .await;
        this
    }

    /// Waits until an alert fires with these labels, and says how long that took.
    pub(crate) async fn fires(&self, alert: &str, labels: &[(&str, &str)]) {
        let began = Clock::Wall.steady();
        within(Duration::from_secs(90), &format!("{alert} {labels:?} fires"), async || {
            let firing = self.firing().await?;
            let fits = |one: &BTreeMap<String, String>| {
                one.get("alertname").is_some_and(|name| name == alert)
                    && labels.iter().all(|(key, value)| one.get(*key).is_some_and(|have| have == value))
            };
            if firing.iter().any(fits) { Ok(()) } else { Err(format!("firing: {firing:?}")) }
        })
        .await;
        println!(
            "alerts: {alert} fires, {:.1} s after it was waited for",
            (Clock::Wall.steady() - began).as_secs_f64()
        );
    }

    /// Waits until an alert does not fire any more.
    pub(crate) async fn ends(&self, alert: &str) {
        within(Duration::from_secs(90), &format!("{alert} ends"), async || {
            let firing = self.firing().await?;
            let fires = firing.iter().any(|one| one.get("alertname").is_some_and(|name| name == alert));
            if fires { Err(format!("firing: {firing:?}")) } else { Ok(()) }
        })
        .await;
    }

    /// Fails where the alert fires.
    pub(crate) async fn is_quiet(&self, alert: &str) {
        let firing = self.firing().await.unwrap();
        let fires = firing.iter().any(|one| one.get("alertname").is_some_and(|name| name == alert));
        assert!(!fires, "{alert} fires before its condition was made true: {firing:?}");
    }

    /// The labels of every alert that fires.
    pub(crate) async fn firing(&self) -> Result<Vec<BTreeMap<String, String>>, String> {
        let answer = self.ask("/api/v1/alerts", &[]).await?;
        let alerts = answer.pointer("/data/alerts").and_then(Value::as_array).cloned().unwrap_or_default();
        let firing = alerts.iter().filter(|alert| alert["state"] == "firing");
        Ok(firing.map(|alert| serde_json::from_value(alert["labels"].clone()).unwrap()).collect())
    }

    /// The first value of a query; `None` for an empty answer.
    pub(crate) async fn value(&self, query: &str) -> Result<Option<f64>, String> {
        let answer = self.ask("/api/v1/query", &[("query", query)]).await?;
        let value = answer.pointer("/data/result/0/value/1").and_then(Value::as_str);
        Ok(value.and_then(|value| value.parse().ok()))
    }

    /// How many times the rules were evaluated, and whether any failed.
    pub(crate) async fn rules(&self) -> Value {
        self.ask("/api/v1/rules", &[]).await.unwrap()
    }

    async fn ask(&self, path: &str, query: &[(&str, &str)]) -> Result<Value, String> {
        let asked = self.client.get(format!("{}{path}", self.address)).query(query).send().await;
        asked.map_err(|error| error.to_string())?.json().await.map_err(|error| error.to_string())
    }
}

/// The rules with short pauses and ranges. Expressions and thresholds stay.
fn hurried(rules: &str) -> String {
    let ranges = Regex::new(r"\[\d+m\]").unwrap().replace_all(rules, format!("[{RANGE}]"));
    let offsets = Regex::new(r"offset \d+m").unwrap().replace_all(&ranges, format!("offset {RANGE}"));
    Regex::new(r"for: \d+m").unwrap().replace_all(&offsets, format!("for: {FOR}")).into_owned()
}

/// A port that nobody has now.
pub(crate) fn free_port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// Tries until it works; the last reason is told where it never does.
pub(crate) async fn within(limit: Duration, what: &str, mut tried: impl AsyncFnMut() -> Result<(), String>) {
    let began = Clock::Wall.steady();
    while let Err(why) = tried().await {
        assert!(Clock::Wall.steady() - began < limit, "not within {limit:?}: {what}: {why}");
        Clock::Wall.sleep(Duration::from_millis(200)).await;
    }
}
