//! The two servers, asked in the same way.

use std::{fs, path::Path, time::Duration};

use futures::TryStreamExt;
use http_body_util::BodyExt;
use kube::{Client, client::Body};
use serde_json::{Value, json};
use serin::{
    clock::Clock,
    sim::{door::Door, world::World},
};

use crate::{Fallible, script::Step, server::ApiServer, wait};

/// One server.
pub(crate) struct Side {
    pub(crate) name: &'static str,
    client: Client,
}

/// Both of them.
pub(crate) struct Sides {
    pub(crate) embedded: Side,
    pub(crate) real: Side,
}

/// What a server said.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    /// Text where it is not JSON.
    pub(crate) body: Value,
}

/// Longest that an answer or the end of a watch may take.
const ANSWER: Duration = Duration::from_secs(60);

const TABLE: &str = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json";
const AGGREGATED: &str =
    "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,application/json";

/// Where each plural is served; the core group where it is not listed.
const GROUPS: &[(&str, &str, &str)] = &[
    ("replicasets", "apis/apps", "v1"),
    ("deployments", "apis/apps", "v1"),
    ("leases", "apis/coordination.k8s.io", "v1"),
    ("endpointslices", "apis/discovery.k8s.io", "v1"),
    ("virtualservices", "apis/networking.istio.io", "v1"),
    ("destinationrules", "apis/networking.istio.io", "v1"),
    ("rollouts", "apis/argoproj.io", "v1alpha1"),
    ("analysisruns", "apis/argoproj.io", "v1alpha1"),
    ("analysistemplates", "apis/argoproj.io", "v1alpha1"),
    ("experiments", "apis/argoproj.io", "v1alpha1"),
    ("rolloutrecords", "apis/serin.dev", "v1alpha1"),
    ("selfhealpolicies", "apis/serin.dev", "v1alpha1"),
    ("selfheals", "apis/serin.dev", "v1alpha1"),
];

impl Sides {
    /// Both servers with the same kinds.
    ///
    /// # Errors
    /// When the real one does not take a CustomResourceDefinition.
    pub(crate) async fn new(server: &ApiServer, root: &Path, programs: &Path) -> Fallible<Self> {
        let real = Side { name: "real", client: server.admin.clone() };
        let istio = fs::read_to_string(programs.join("istio-crds.yaml"))?;
        real.define(root, &istio).await?;
        real.warm_up().await?;
        let mut world = World::new(Clock::Wall.now());
        // As beside a kube-apiserver of which nobody else is a client.
        world.actors.rest();
        // A real server does not know its first versions any more either.
        world.store_mut().compact();
        let embedded = Side { name: "embedded", client: Door::new(world, Clock::Wall).client("contract") };
        Ok(Self { embedded, real })
    }
}

impl Side {
    /// Sends one request; the body is the step's with everything filled in.
    ///
    /// # Errors
    /// When there was no answer.
    pub(crate) async fn send(&self, step: &Step, namespace: &str) -> Fallible<Answer> {
        let (verb, kind) = match step.verb.as_str() {
            "JSON" => ("PATCH", "application/json-patch+json"),
            "MERGE" => ("PATCH", "application/merge-patch+json"),
            "STRATEGIC" => ("PATCH", "application/strategic-merge-patch+json"),
            "APPLY" => ("PATCH", "application/apply-patch+yaml"),
            "PLAIN-PATCH" => ("PATCH", "application/json"),
            "TEXT-PATCH" => ("PATCH", "text/plain"),
            "TEXT-POST" => ("POST", "text/plain"),
            "YAML-POST" => ("POST", "application/yaml"),
            "TABLE" | "AGGREGATED" => ("GET", "application/json"),
            other => (other, "application/json"),
        };
        let accept = match step.verb.as_str() {
            "TABLE" => TABLE,
            "AGGREGATED" => AGGREGATED,
            _ => "application/json",
        };
        let request = http::Request::builder()
            .method(verb)
            .uri(path(&step.path, namespace))
            .header("accept", accept)
            .header("user-agent", "contract/1")
            .header("content-type", kind)
            .body(Body::from(step.body.replace("{ns}", namespace).into_bytes()))?;
        let answer = Clock::Wall.timeout(ANSWER, async {
            let response = self.client.send(request).await?;
            let status = response.status().as_u16();
            Ok::<_, kube::Error>((status, response.into_body().collect_bytes().await?))
        });
        let (status, body) = answer
            .await
            .ok_or_else(|| format!("{}: {} {}: no answer", self.name, step.verb, step.path))??;
        let body = serde_json::from_slice(&body).unwrap_or_else(|_| json!(String::from_utf8_lossy(&body)));
        Ok(Answer { status, body })
    }

    /// The events of a watch until it ends, or until one of `until` came.
    ///
    /// # Errors
    /// When it does not end in time.
    pub(crate) async fn watch(&self, where_: &str, namespace: &str, until: &str) -> Fallible<Answer> {
        let uri = path(where_, namespace);
        let request =
            http::Request::get(&uri).header("accept", "application/json").header("user-agent", "contract/1");
        let request = request.body(Body::empty())?;
        let read = async {
            let response = self.client.send(request).await?;
            let status = response.status().as_u16();
            if status != 200 {
                return Ok((status, vec![], response.into_body().collect_bytes().await?.to_vec()));
            }
            let mut frames = response.into_body().into_data_stream();
            let (mut text, mut events) = (vec![], vec![]);
            while let Some(frame) = frames.try_next().await? {
                text.extend_from_slice(&frame);
                while let Some(end) = text.iter().position(|byte| *byte == b'\n') {
                    let line: Vec<u8> = text.drain(..=end).collect();
                    let event: Value = serde_json::from_slice(&line)?;
                    if !until.is_empty()
                        && event.pointer("/object/metadata/name").is_some_and(|name| name == until)
                    {
                        return Ok((status, events, text));
                    }
                    events.push(event);
                }
            }
            Ok::<_, Box<dyn std::error::Error + Send + Sync>>((status, events, text))
        };
        let read = Clock::Wall.timeout(ANSWER, read).await;
        let (status, events, rest) =
            read.ok_or_else(|| format!("{}: the watch {uri} did not end", self.name))??;
        if events.is_empty() && !rest.is_empty() {
            let body =
                serde_json::from_slice(&rest).unwrap_or_else(|_| json!(String::from_utf8_lossy(&rest)));
            return Ok(Answer { status, body });
        }
        Ok(Answer { status, body: Value::Array(events) })
    }

    /// Waits until it gives addresses to Services: that comes last.
    async fn warm_up(&self) -> Fallible {
        let service = json!({"apiVersion": "v1", "kind": "Service", "metadata": {"generateName": "first-"}, "spec": {"ports": [{"port": 1}]}});
        let step =
            Step { verb: "POST".into(), path: "services".into(), body: service.to_string(), any_text: false };
        wait::until("an address for a Service", ANSWER, async || {
            match self.send(&step, "default").await?.status {
                201 => Ok(()),
                status => Err(format!("{status}").into()),
            }
        })
        .await
    }

    /// Applies CustomResourceDefinitions and waits until each kind is served.
    async fn define(&self, root: &Path, more: &str) -> Fallible {
        let mut texts = vec![more.to_owned()];
        for entry in fs::read_dir(root.join("crds"))? {
            texts.push(fs::read_to_string(entry?.path())?);
        }
        let all: Vec<Value> = texts
            .iter()
            .map(|text| serde_saphyr::from_multiple(text))
            .collect::<Result<Vec<Vec<Value>>, _>>()?
            .concat();
        let mine = |crd: &&Value| {
            let plural = crd.pointer("/spec/names/plural").and_then(Value::as_str).unwrap_or_default();
            plural == "clusteranalysistemplates" || GROUPS.iter().any(|(known, ..)| *known == plural)
        };
        for crd in all.iter().filter(mine) {
            let step = Step {
                verb: "POST".into(),
                path: "/apis/apiextensions.k8s.io/v1/customresourcedefinitions".into(),
                body: crd.to_string(),
                any_text: false,
            };
            let answer = self.send(&step, "").await?;
            if answer.status != 201 {
                return Err(format!("a CustomResourceDefinition was refused: {}", answer.body).into());
            }
        }
        for (plural, ..) in GROUPS {
            let step =
                Step { verb: "GET".into(), path: (*plural).to_owned(), body: String::new(), any_text: false };
            wait::until(plural, ANSWER, async || match self.send(&step, "default").await?.status {
                200 => Ok(()),
                status => Err(format!("{status}").into()),
            })
            .await?;
        }
        Ok(())
    }
}

/// The path of a step as the server knows it.
fn path(short: &str, namespace: &str) -> String {
    let short = short.replace("{ns}", namespace);
    if short.starts_with('/') {
        return short;
    }
    let end = short.find(['/', '?']).unwrap_or(short.len());
    let (plural, rest) = short.split_at(end);
    let (plural, version) =
        plural.split_once('@').map_or((plural, None), |(plural, version)| (plural, Some(version)));
    let (_, group, usual) = GROUPS.iter().find(|(known, ..)| *known == plural).unwrap_or(&("", "api", "v1"));
    format!("/{group}/{}/namespaces/{namespace}/{plural}{rest}", version.unwrap_or(usual))
}
