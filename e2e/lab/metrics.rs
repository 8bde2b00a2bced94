//! Debian's Prometheus, scraping every address a pod can have.

use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use jiff::Timestamp;
use serde_json::Value;

use crate::{Fallible, load::TELEMETRY, node, process::Process, wait};

/// Where it listens in the namespace.
pub(crate) const ADDRESS: &str = "http://10.77.0.2:9090";
/// Short, because the journeys run the story thirty times faster than a user would.
const SCRAPE: &str = "500ms";

/// A running Prometheus. Ends with this value.
pub(crate) struct Prometheus {
    process: Process,
    client: reqwest::Client,
    /// Prometheus's own log of what it was asked.
    queries: PathBuf,
}

impl Prometheus {
    /// Starts it in `folder` and waits until it is ready.
    ///
    /// It learns of a new file_sd target up to ten seconds late, a third of a journey. So every address of the pool is a target from
    /// the start; one that no pod has refuses the connection.
    ///
    /// # Errors
    /// When the program is missing or does not come up.
    pub(crate) async fn start(folder: &Path) -> Fallible<Self> {
        let targets: Vec<String> = node::ADDRESSES.map(|n| format!("{}:8080", node::address(n))).collect();
        fs::write(folder.join("pods.json"), serde_json::to_vec(&serde_json::json!([{"targets": targets}]))?)?;
        let mesh = format!("{}:{}", TELEMETRY.0, TELEMETRY.1);
        let config = format!(
            "global: {{scrape_interval: {SCRAPE}, scrape_timeout: {SCRAPE}, query_log_file: queries.log}}\n\
             scrape_configs:\n\
             - {{job_name: pods, honor_labels: true, file_sd_configs: [{{files: [pods.json]}}]}}\n\
             - {{job_name: mesh, honor_labels: true, static_configs: [{{targets: ['{mesh}']}}]}}\n"
        );
        fs::write(folder.join("prometheus.yml"), config)?;
        let arguments = [
            "--config.file=prometheus.yml".into(),
            "--storage.tsdb.path=prometheus".into(),
            format!("--web.listen-address={}", ADDRESS.trim_start_matches("http://")),
        ];
        let mut process = Process::start(folder, "prometheus", Path::new("prometheus"), &arguments)?;
        let client = reqwest::Client::builder().no_proxy().timeout(Duration::from_secs(5)).build()?;
        let limit = Duration::from_secs(20);
        wait::while_alive(
            "Prometheus",
            limit,
            || process.alive(),
            async || {
                Ok(client.get(format!("{ADDRESS}/-/ready")).send().await?.error_for_status().map(|_| ())?)
            },
        )
        .await?;
        Ok(Self { process, client, queries: folder.join("queries.log") })
    }

    /// The value of a query that answers with a scalar. NaN is an answer.
    ///
    /// # Errors
    /// When Prometheus refuses the query or its answer is no scalar.
    pub(crate) async fn scalar(&self, query: &str) -> Fallible<f64> {
        let asked = self.client.get(format!("{ADDRESS}/api/v1/query")).query(&[("query", query)]);
        let answer: Value = asked.send().await?.json().await?;
        match answer.pointer("/data/result/1").and_then(Value::as_str) {
            Some(value) if answer.pointer("/data/resultType") == Some(&"scalar".into()) => Ok(value.parse()?),
            _ => Err(format!("{query}: {answer}").into()),
        }
    }

    /// When it answered the queries that hold every one of `words`, oldest first, by its own log.
    ///
    /// # Errors
    /// When the log cannot be read.
    pub(crate) fn answered(&self, words: &[&str]) -> Fallible<Vec<Timestamp>> {
        let mut all = vec![];
        for line in fs::read_to_string(&self.queries)?.lines() {
            let entry: Value = serde_json::from_str(line)?;
            let text = |pointer: &str| entry.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
            if words.iter().all(|word| text("/params/query").contains(word)) {
                all.push(text("/ts").parse()?);
            }
        }
        Ok(all)
    }

    /// Fails when it has ended.
    ///
    /// # Errors
    /// With the end of its log.
    pub(crate) fn alive(&mut self) -> Fallible {
        self.process.alive()
    }
}
