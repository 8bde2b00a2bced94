//! What the stores keep of an object: who it is, whose it is, and its slim form.

use std::{borrow::Cow, collections::BTreeSet, sync::Arc};

use kube::{
    Resource,
    api::{ApiResource, DynamicObject, ObjectMeta},
    core::DynamicResourceScope,
};
use serde::{Deserialize, Deserializer, de::Error as _};
use serde_json::Value;

use super::references::{Reference, references};
use crate::domain::{Key, Uid};

/// The slim form of a kind. Reading never fails: what cannot be understood is part of the form.
pub trait Slim: Clone + Send + Sync + 'static {
    /// Reads an object as the server sends it.
    fn read(object: Value) -> Self;
}

/// An object as kept.
#[derive(Clone, Debug)]
pub struct Entry<T> {
    pub key: Key,
    pub uid: Uid,
    /// As the server sent it.
    pub resource_version: String,
    /// The controller among its owners.
    pub owner: Option<Owner>,
    /// Objects that a Rollout names; empty for other kinds.
    pub references: BTreeSet<Reference>,
    pub slim: Arc<T>,
}

/// The owner that has `controller: true`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Owner {
    pub kind: String,
    pub name: String,
    pub uid: Uid,
}

impl<T: Slim> Entry<T> {
    /// `None` for what has no name: not an object.
    pub fn read(object: Value) -> Option<Self> {
        let text = |name: &str| {
            object.pointer(&format!("/metadata/{name}")).and_then(Value::as_str).map(ToOwned::to_owned)
        };
        let key = Key::new(text("namespace").unwrap_or_default(), text("name")?);
        Some(Self {
            references: references(&object, &key.namespace),
            key,
            uid: Uid(text("uid").unwrap_or_default()),
            resource_version: text("resourceVersion").unwrap_or_default(),
            owner: controller(&object),
            slim: Arc::new(T::read(object)),
        })
    }
}

fn controller(object: &Value) -> Option<Owner> {
    let owners = object.pointer("/metadata/ownerReferences")?.as_array()?;
    let owner = owners.iter().find(|owner| owner.get("controller") == Some(&Value::Bool(true)))?;
    let text = |name: &str| Some(owner.get(name)?.as_str()?.to_owned());
    Some(Owner { kind: text("kind")?, name: text("name")?, uid: Uid(text("uid")?) })
}

/// What kube's watcher hands over: the slim entry, decoded at once, and the little that the watcher itself reads.
#[derive(Clone)]
pub(super) struct Watched<T> {
    meta: ObjectMeta,
    pub(super) entry: Entry<T>,
}

impl<T> std::fmt::Debug for Watched<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} at {}", self.entry.key, self.entry.resource_version)
    }
}

impl<'de, T: Slim> Deserialize<'de> for Watched<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let object = Value::deserialize(deserializer)?;
        let entry = Entry::read(object).ok_or_else(|| D::Error::custom("an object without a name"))?;
        let meta = ObjectMeta {
            name: Some(entry.key.name.clone()),
            namespace: Some(entry.key.namespace.clone()),
            resource_version: Some(entry.resource_version.clone()),
            ..ObjectMeta::default()
        };
        Ok(Self { meta, entry })
    }
}

impl<T> Resource for Watched<T> {
    type DynamicType = ApiResource;
    type Scope = DynamicResourceScope;

    fn kind(kind: &ApiResource) -> Cow<'_, str> {
        DynamicObject::kind(kind)
    }

    fn group(kind: &ApiResource) -> Cow<'_, str> {
        DynamicObject::group(kind)
    }

    fn version(kind: &ApiResource) -> Cow<'_, str> {
        DynamicObject::version(kind)
    }

    fn plural(kind: &ApiResource) -> Cow<'_, str> {
        DynamicObject::plural(kind)
    }

    fn meta(&self) -> &ObjectMeta {
        &self.meta
    }

    fn meta_mut(&mut self) -> &mut ObjectMeta {
        &mut self.meta
    }
}
