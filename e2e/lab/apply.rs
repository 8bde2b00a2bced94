//! Server-side apply of whole YAML texts, as `kubectl apply --server-side` does it.

use std::{collections::BTreeMap, path::Path, time::Duration};

use kube::{
    Api, Client, ResourceExt,
    api::{DynamicObject, Patch, PatchParams},
    core::GroupVersionKind,
    discovery::{self, ApiResource, Scope},
};
use serde_json::Value;
use serin::clock::instant;

use crate::{Fallible, stack::SOON, wait};

/// Applies objects as one field manager.
pub(crate) struct Applier {
    client: Client,
    manager: String,
    /// Kinds that were looked up already.
    known: BTreeMap<String, (ApiResource, bool)>,
}

impl Applier {
    /// An applier that owns what it applies as `manager`, by force as GitOps engines do.
    pub(crate) fn new(client: Client, manager: &str) -> Self {
        Self { client, manager: manager.into(), known: BTreeMap::new() }
    }

    /// Applies every document of `text`; those without a namespace go to `namespace`.
    ///
    /// # Errors
    /// The first refusal of the API server, with the object's kind and name.
    pub(crate) async fn apply(&mut self, text: &str, namespace: &str) -> Fallible {
        for object in documents(text)? {
            self.one(&object, namespace).await?;
        }
        Ok(())
    }

    /// As [`Applier::apply`], from a file.
    ///
    /// # Errors
    /// As there, and when the file cannot be read.
    pub(crate) async fn file(&mut self, path: &Path, namespace: &str) -> Fallible {
        let text = std::fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))?;
        self.apply(&text, namespace).await.map_err(|error| format!("{}: {error}", path.display()).into())
    }

    /// Applies one object.
    ///
    /// # Errors
    /// As [`Applier::apply`].
    pub(crate) async fn one(&mut self, object: &Value, namespace: &str) -> Fallible {
        let object: DynamicObject = serde_json::from_value(object.clone())?;
        let api = self.api(&object, namespace).await?;
        let (kind, name) = (object.types.as_ref().map_or("", |types| &types.kind), object.name_any());
        let params = PatchParams::apply(&self.manager).force();
        api.patch(&name, &params, &Patch::Apply(&object))
            .await
            .map_err(|error| format!("{kind} {name}: {error}"))?;
        Ok(())
    }

    async fn api(&mut self, object: &DynamicObject, namespace: &str) -> Fallible<Api<DynamicObject>> {
        let types = object.types.clone().ok_or("an object without apiVersion and kind")?;
        let key = format!("{}/{}", types.api_version, types.kind);
        if !self.known.contains_key(&key) {
            let kind = GroupVersionKind::try_from(&types)?;
            let found = self.look_up(&kind).await?;
            self.known.insert(key.clone(), found);
        }
        let (resource, namespaced) = self.known.get(&key).ok_or("a kind that was just looked up is known")?;
        Ok(if *namespaced {
            let own = object.metadata.namespace.as_deref().unwrap_or(namespace);
            Api::namespaced_with(self.client.clone(), own, resource)
        } else {
            Api::all_with(self.client.clone(), resource)
        })
    }

    /// A kind whose CRD was applied a moment ago is served a moment later.
    async fn look_up(&self, kind: &GroupVersionKind) -> Fallible<(ApiResource, bool)> {
        let started = instant();
        loop {
            match discovery::pinned_kind(&self.client, kind).await {
                Ok((resource, capabilities)) => {
                    return Ok((resource, capabilities.scope == Scope::Namespaced));
                }
                Err(error) if started.elapsed() > SOON => {
                    return Err(format!("kind {}: {error}", kind.kind).into());
                }
                Err(_) => wait::pause(Duration::from_millis(100)).await,
            }
        }
    }
}

/// The objects of a YAML text of several documents; empty ones are left out.
///
/// # Errors
/// When a document is not YAML.
pub(crate) fn documents(text: &str) -> Fallible<Vec<Value>> {
    let all: Vec<Value> = serde_saphyr::from_multiple(text)?;
    Ok(all.into_iter().filter(|object| !object.is_null()).collect())
}
