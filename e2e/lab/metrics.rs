//! Debian's Prometheus, scraping every address a pod can have.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::Mutex,
    time::Duration,
};

use jiff::Timestamp;
use serde_json::Value;

use crate::{Fallible, images::lock, mesh::TELEMETRY, node, process::Process, wait};

/// Where it listens in the namespace.
pub(crate) const ADDRESS: &str = "http://10.77.0.2:9090";
/// Short, because the journeys run the story thirty times faster than a user would.
const SCRAPE: &str = "500ms";

/// What Envoy counts, under the names that Istio's own Envoy would count it: the cluster's name is
/// `service|namespace`, or as istiod gives it.
const RELABEL: &str = "
  - {source_labels: [__name__, envoy_response_code], regex: 'envoy_cluster_upstream_rq;.+', target_label: __name__, replacement: istio_requests_total}
  - {source_labels: [__name__], regex: istio_requests_total, action: keep}
  - {source_labels: [envoy_cluster_name], regex: '([^|]+)\\|([^|]+)', target_label: destination_service_name, replacement: '$1'}
  - {source_labels: [envoy_cluster_name], regex: '([^|]+)\\|([^|]+)', target_label: destination_service_namespace, replacement: '$2'}
  - {source_labels: [envoy_cluster_name], regex: 'outbound\\|[0-9]+\\|\\|([^.]+)\\.([^.]+)\\..+', target_label: destination_service_name, replacement: '$1'}
  - {source_labels: [envoy_cluster_name], regex: 'outbound\\|[0-9]+\\|\\|([^.]+)\\.([^.]+)\\..+', target_label: destination_service_namespace, replacement: '$2'}
  - {source_labels: [envoy_response_code], target_label: response_code}
  - {target_label: reporter, replacement: source}
";

/// A running Prometheus. Ends with this value.
pub(crate) struct Prometheus {
    folder: PathBuf,
    /// None while it is away.
    process: Mutex<Option<Process>>,
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
        let config = format!(
            "global: {{scrape_interval: {SCRAPE}, scrape_timeout: {SCRAPE}, query_log_file: queries.log}}\n\
             scrape_configs:\n\
             - {{job_name: pods, honor_labels: true, file_sd_configs: [{{files: [pods.json]}}]}}\n\
             - job_name: mesh\n\
             \x20 metrics_path: /stats/prometheus\n\
             \x20 static_configs: [{{targets: ['{TELEMETRY}']}}]\n\
             \x20 metric_relabel_configs:{RELABEL}"
        );
        fs::write(folder.join("prometheus.yml"), config)?;
        let client = reqwest::Client::builder().no_proxy().timeout(Duration::from_secs(5)).build()?;
        let (process, queries) = (Mutex::default(), folder.join("queries.log"));
        let started = Self { folder: folder.into(), process, client, queries };
        started.come_back().await?;
        Ok(started)
    }

    /// Kills the process: connections are refused from now on.
    ///
    /// # Errors
    /// When it is away already.
    pub(crate) async fn go(&self) -> Fallible {
        let process = lock(&self.process).take();
        Ok(process.ok_or("Prometheus is away already")?.kill().await?)
    }

    /// Starts it at its address, with the data that it has, and waits until it is ready.
    ///
    /// # Errors
    /// When the program is missing or does not come up.
    pub(crate) async fn come_back(&self) -> Fallible {
        let arguments = [
            "--config.file=prometheus.yml".into(),
            "--storage.tsdb.path=prometheus".into(),
            format!("--web.listen-address={}", ADDRESS.trim_start_matches("http://")),
        ];
        let mut process = Process::start(&self.folder, "prometheus", Path::new("prometheus"), &arguments)?;
        let ready = format!("{ADDRESS}/-/ready");
        wait::while_alive(
            "Prometheus",
            Duration::from_secs(20),
            || process.alive(),
            async || Ok(self.client.get(&ready).send().await?.error_for_status().map(|_| ())?),
        )
        .await?;
        *lock(&self.process) = Some(process);
        Ok(())
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

    /// When it answered which query, oldest first, by its own log.
    ///
    /// # Errors
    /// When the log cannot be read.
    pub(crate) fn answered(&self) -> Fallible<Vec<(Timestamp, String)>> {
        let mut all = vec![];
        for line in fs::read_to_string(&self.queries)?.lines() {
            let entry: Value = serde_json::from_str(line)?;
            let text = |pointer: &str| entry.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
            all.push((text("/ts").parse()?, text("/params/query").to_owned()));
        }
        Ok(all)
    }

    /// Fails when it has ended.
    ///
    /// # Errors
    /// With the end of its log.
    pub(crate) fn alive(&self) -> Fallible {
        lock(&self.process).as_mut().ok_or("Prometheus is away")?.alive()
    }
}
