//! Cases drawn from a seed: objects, patches and verbs that are likely to meet each other.

use serde_json::{Value, json};

use crate::script::{Case, Step, Vocabulary};

/// A splitmix64 stream.
struct Dice(u64);

impl Dice {
    fn number(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    /// Below `bound`, which is not 0.
    fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.number() % u64::try_from(bound.max(1)).unwrap_or(1)).unwrap_or(0)
    }

    fn one<'a, T>(&mut self, of: &'a [T]) -> Option<&'a T> {
        of.get(self.below(of.len()))
    }

    fn chance(&mut self, percent: usize) -> bool {
        self.below(100) < percent
    }
}

/// Kinds with a status of its own.
const WITH_STATUS: &[&str] =
    &["replicasets", "services", "rollouts", "rolloutrecords", "selfheals", "virtualservices"];

/// The case of a seed; the same in every run.
pub(crate) fn case(seed: u64, vocabulary: &Vocabulary) -> Case {
    let mut dice = Dice(seed.wrapping_mul(0x5851_F42D_4C95_7F2D) ^ 0x1405_7B7E_F767_814F);
    let mut plurals: Vec<&String> =
        vocabulary.choices.iter().map(|(plural, ..)| plural).filter(|it| *it != "*").collect();
    plurals.dedup();
    let plural = dice.one(&plurals).map_or("configmaps", |plural| plural.as_str()).to_owned();
    let object = vocabulary.objects.get(&plural).cloned().unwrap_or_default();
    let mut draw = Draw { dice, plural, object, vocabulary, steps: vec![] };
    draw.create();
    for _ in 0..draw.dice.below(8) + 2 {
        draw.step();
    }
    Case { name: format!("seed {seed}"), steps: draw.steps, refused: None, seed: Some(seed) }
}

struct Draw<'a> {
    dice: Dice,
    plural: String,
    object: Value,
    vocabulary: &'a Vocabulary,
    steps: Vec<Step>,
}

impl Draw<'_> {
    fn send(&mut self, verb: &str, path: String, body: String) {
        self.steps.push(Step { verb: verb.into(), path, body, any_text: false });
    }

    /// Pointer and value of a change that means something to the kind.
    fn change(&mut self) -> (String, Value) {
        let plural = self.plural.clone();
        let mine: Vec<&(String, String, Vec<Value>)> =
            self.vocabulary.choices.iter().filter(|(of, ..)| *of == plural || of == "*").collect();
        let Some((_, pointer, values)) = self.dice.one(&mine) else {
            return ("/metadata/labels/a".into(), json!("b"));
        };
        (pointer.clone(), self.dice.one(values).cloned().unwrap_or_default())
    }

    /// A merge patch of some changes.
    fn patch(&mut self) -> Value {
        let mut patch = json!({});
        for _ in 0..=self.dice.below(3) {
            let (pointer, value) = self.change();
            put(&mut patch, &pointer, value);
        }
        patch
    }

    fn create(&mut self) {
        let mut object = self.object.clone();
        if self.dice.chance(60) {
            json_patch::merge(&mut object, &self.patch());
        }
        let plural = self.plural.clone();
        if self.dice.chance(25) {
            let path = format!("{plural}/x?fieldManager=flux");
            self.send("APPLY", path, object.to_string());
        } else {
            self.send("POST", plural, object.to_string());
        }
    }

    fn step(&mut self) {
        let part = match WITH_STATUS.contains(&self.plural.as_str()) && self.dice.chance(25) {
            true => "/status",
            false => "",
        };
        let one = format!("{}/x{part}", self.plural);
        let created = self.steps.len();
        match self.dice.below(11) {
            0 | 1 => {
                let patch = self.patch();
                self.send("MERGE", one, patch.to_string());
            }
            2 | 3 => {
                let operations = self.operations();
                self.send("JSON", one, operations.to_string());
            }
            4 => self.put(&one),
            5 | 6 => self.apply(&one),
            7 if self.plural != "services" => {
                let patch = self.patch();
                self.send("STRATEGIC", one, patch.to_string());
                // The decoder of strategic patches has words of its own.
                self.steps.iter_mut().next_back().into_iter().for_each(|step| step.any_text = true);
            }
            8 => self.list(),
            9 if created > 2 => self.delete(),
            _ => self.create(),
        }
    }

    fn operations(&mut self) -> Value {
        let mut all = vec![];
        for _ in 0..=self.dice.below(3) {
            let (pointer, value) = self.change();
            let verb = *self
                .dice
                .one(&["add", "add", "replace", "remove", "test", "copy", "move"])
                .unwrap_or(&"add");
            let (from, _) = self.change();
            // A version is another one on each side.
            let moves = ["copy", "move"].contains(&verb);
            let verb = if moves && from.ends_with("Version") { "add" } else { verb };
            let is_below_null = |one: &Value| {
                one.get("value").is_some_and(Value::is_null)
                    && one["path"].as_str().is_some_and(|path| pointer.starts_with(&format!("{path}/")))
            };
            if verb == "add" && all.iter().any(is_below_null) {
                // The real server panics over it and drops the connection: there is no answer to compare.
                continue;
            }
            all.push(match verb {
                "remove" => json!({"op": verb, "path": pointer}),
                "copy" | "move" => json!({"op": verb, "from": from, "path": pointer}),
                _ => json!({"op": verb, "path": pointer, "value": value}),
            });
        }
        Value::Array(all)
    }

    fn put(&mut self, path: &str) {
        let read = self.steps.len() + 1;
        let patch = self.patch();
        let stale = self.dice.chance(15);
        self.send("GET", format!("{}/x", self.plural), String::new());
        let read = if stale { 1 } else { read };
        let patch = if self.dice.chance(15) { json!({"metadata": {"resourceVersion": null}}) } else { patch };
        self.send("PUT", path.to_owned(), format!("{{{{{read}}}}} + {patch}"));
    }

    fn apply(&mut self, path: &str) {
        // A status of a built-in kind is applied by nobody.
        let built_in = ["replicasets", "services"].contains(&self.plural.as_str());
        let path = if built_in { path.trim_end_matches("/status") } else { path };
        let manager = *self.dice.one(&["flux", "argocd", "kubectl"]).unwrap_or(&"flux");
        let force = if self.dice.chance(40) { "&force=true" } else { "" };
        let kind = json!({"apiVersion": self.object["apiVersion"], "kind": self.object["kind"], "metadata": {"name": "x"}});
        let mut config = if self.dice.chance(50) { self.object.clone() } else { kind };
        if path.ends_with("/status") {
            config = json!({"apiVersion": self.object["apiVersion"], "kind": self.object["kind"], "metadata": {"name": "x"}});
        }
        json_patch::merge(&mut config, &self.patch());
        self.send("APPLY", format!("{path}?fieldManager={manager}{force}"), config.to_string());
    }

    fn list(&mut self) {
        let query = *self
            .dice
            .one(&[
                "",
                "?labelSelector=a%3Db",
                "?labelSelector=a!%3Db,c",
                "?fieldSelector=metadata.name%3Dx",
                "?limit=1",
            ])
            .unwrap_or(&"");
        let verb = if self.dice.chance(30) && self.plural != "events" { "TABLE" } else { "GET" };
        self.send(verb, format!("{}{query}", self.plural), String::new());
    }

    fn delete(&mut self) {
        let options = match self.dice.below(5) {
            0 => json!({"propagationPolicy": "Foreground"}),
            1 => json!({"propagationPolicy": "Orphan"}),
            2 => json!({"preconditions": {"uid": "{{1/metadata/uid}}"}}),
            3 => json!({"preconditions": {"resourceVersion": "{{1/metadata/resourceVersion}}"}}),
            _ => Value::Null,
        };
        let body = if options.is_null() { String::new() } else { options.to_string() };
        self.send("DELETE", format!("{}/x", self.plural), body);
    }
}

/// Sets a value at a pointer of maps.
fn put(object: &mut Value, pointer: &str, value: Value) {
    let mut here = object;
    for step in pointer.split('/').skip(1) {
        if !here.is_object() {
            *here = json!({});
        }
        let step = step.replace("~1", "/");
        let Some(fields) = here.as_object_mut() else { return };
        here = fields.entry(step).or_insert(Value::Null);
    }
    *here = value;
}
