//! The hashes clients depend on: pod template, canary steps, and the digest that recognises a template again.
//! Pure: no I/O, no clock.
//!
//! Both hashes are FNV-1a over the JSON that Go's `encoding/json` writes for the typed objects of Kubernetes 1.34
//! and Argo Rollouts 1.10, so every detail of that JSON is part of the wire: the order of the fields, which empty ones
//! are left out, how a quantity or `<` is spelt. What the types look like is data in `fields.txt`; a field that it
//! does not list is dropped, as the typed round trip of the reference drops it.

mod defaults;
mod digest;
mod go_json;
mod image;
mod quantity;
pub mod table;
mod typed;

#[cfg(test)]
mod tests;

use serde_json::Value;

pub use digest::{Digest, Injected, template_digest};

/// Why a value is not the object that it should be.
///
/// A spec error: nothing changes until somebody edits the object, so do not retry.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{path}: expected {expected}, found {found}")]
pub struct Error {
    /// Where, from the root of the hashed value: `spec.containers[0].image`. The root itself is `.`.
    pub path: String,
    /// What the field holds in Kubernetes 1.34, for instance `a string`.
    pub expected: &'static str,
    /// What is there, shortened to 40 characters.
    pub found: String,
}

/// The value of the label `rollouts-pod-template-hash` for a pod template as the user wrote it.
///
/// `collision_count` is the Rollout's `status.collisionCount`; absent and 0 give different hashes.
///
/// # Errors
/// The first field that does not have the type Kubernetes gives it.
pub fn template_hash(template: &Value, collision_count: Option<i32>) -> Result<String, Error> {
    let typed = typed::Reader::Strict.read(template, "PodTemplateSpec")?;
    let mut sum = Fnv::new();
    sum.feed(go_json::print(&typed).as_bytes());
    if let Some(count) = collision_count {
        sum.feed(&count.to_le_bytes());
        sum.feed(&[0; 4]);
    }
    Ok(sum.spelt())
}

/// The value of `status.currentStepHash` for `spec.strategy.canary.steps`; absent and `null` are the same.
///
/// Total: what is malformed counts as if it were not set, as in the reference, which reads objects leniently. The
/// steps themselves are checked elsewhere; here a change only has to be noticed.
pub fn step_hash(steps: Option<&Value>) -> String {
    let typed = typed::Reader::Lenient.read(steps.unwrap_or(&Value::Null), "[]CanaryStep");
    let mut sum = Fnv::new();
    sum.feed(typed.map_or_else(|_| "null".to_owned(), |steps| go_json::print(&steps)).as_bytes());
    sum.spelt()
}

/// FNV-1a, 32 bits.
struct Fnv(u32);

impl Fnv {
    fn new() -> Self {
        Self(0x811c_9dc5)
    }

    fn feed(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = (self.0 ^ u32::from(*byte)).wrapping_mul(0x0100_0193);
        }
    }

    /// The sum as Kubernetes spells hashes: its decimal digits in an alphabet without vowels, so that no word appears.
    fn spelt(&self) -> String {
        const ALPHABET: &[u8; 27] = b"bcdfghjklmnpqrstvwxz2456789";
        self.0
            .to_string()
            .bytes()
            .map(|digit| char::from(ALPHABET[usize::from(digit) % ALPHABET.len()]))
            .collect()
    }
}
