//! Least privilege: what the roles of `deploy/` grant is what the stories need, no less and no more.
//!
//! A story fails as soon as RBAC refuses serin anything. So a right that was used and granted in a story cannot be taken out without
//! a story failing; a right that no story used has no place in a role. The first is shown by doing it, once, or for every single
//! right when SERIN_LAB_EVERY_RIGHT is set; the second by comparing roles and audit log.

use std::{collections::BTreeSet, path::PathBuf};

use serde_json::{Value, json};

use serin::sim::play::scenario::Scenario;

use super::{
    scene::{Scene, Twist},
    story,
};
use crate::{
    Fallible,
    apply::{Applier, documents},
    audit::{Asked, Audit, Right},
    images::lock,
    report,
    roles::{Serin, Setup},
    stack::{self, Stack},
};

/// One right that a role gives to an account. `right.name` is the one object it is for; empty: all of them.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Grant {
    /// Kind and name of the role.
    role: (String, String),
    account: String,
    right: Right,
}

/// Every right of every role was used by its account since `audit`, and granted. Prints how often.
pub(crate) fn nothing_spare(stack: &Stack, audit: &Audit) -> Fallible {
    let asked = audit.asked()?;
    let mut spare = vec![];
    for grant in grants(&[installed(stack)?, optional(stack)?].concat()) {
        let times = asked.iter().filter(|asked| uses(asked, &grant)).count();
        let Grant { role: (kind, name), account, right } = &grant;
        report::line(&format!("lab:   {times:6} {account:16} {kind:11} {right}"));
        if times == 0 {
            spare.push(format!("{kind} {name}: {right}"));
        }
    }
    if spare.is_empty() { Ok(()) } else { Err(format!("no story used:\n{}", spare.join("\n")).into()) }
}

/// The rights that are taken out in every run: the last one that each role needs in the bad story.
const SAMPLES: [(&str, &str, &str); 2] =
    [("serin-controller", "patch", "virtualservices"), ("serin-gitops", "patch", "selfheals/status")];

/// Without a right the story fails, and says which right is missing.
pub(crate) async fn nothing_to_spare(stack: &Stack) -> Fallible {
    let grants = grants(&[installed(stack)?, optional(stack)?].concat());
    let sample =
        |grant: &&Grant| SAMPLES.contains(&(&grant.account, &grant.right.verb, &grant.right.resource));
    let chosen: Vec<&Grant> = match &stack.settings.every_right {
        Some(text) => {
            grants.iter().filter(|grant| text == "all" || grant.right.to_string().contains(text)).collect()
        }
        None => grants.iter().filter(sample).collect(),
    };
    if chosen.len() < SAMPLES.len() {
        return Err(format!("the roles do not grant what the story stands on: {chosen:?}").into());
    }
    let mut wrong = vec![];
    for (number, grant) in chosen.iter().enumerate() {
        let Grant { account, right, .. } = grant;
        let outcome = without(stack, grant, &format!("shop-without-{number}")).await?;
        let said = outcome.err().map(|error| error.to_string()).unwrap_or_default();
        let wanted = Right { name: String::new(), ..right.clone() };
        if said.contains(&format!("{account} may not {}", wanted.to_string().trim_end())) {
            report::line(&format!("lab:   without {right} of {account}: the story fails"));
        } else {
            report::line(&format!("lab:   without {right} of {account}: {said:?}"));
            wrong.push(format!("without {right} of {account}: {said:?}"));
        }
    }
    if wrong.is_empty() { Ok(()) } else { Err(wrong.join("\n").into()) }
}

/// Opens `namespace` to the controller as its owner may, by everything in `deploy/optional`.
pub(crate) async fn opt_in(stack: &Stack, namespace: &str) -> Fallible {
    apply(stack, &optional(stack)?, namespace).await
}

/// Applies manifests, without the right that is withheld at present.
async fn apply(stack: &Stack, objects: &[Value], namespace: &str) -> Fallible {
    let withheld = lock(&stack.withheld).clone();
    let mut kubectl = Applier::new(stack.admin(), "kubectl");
    for object in objects {
        match &withheld {
            Some((of, right)) if role(object) == *of => {
                kubectl.one(&lacking(object, right), namespace).await?
            }
            Some(_) | None => kubectl.one(object, namespace).await?,
        }
    }
    Ok(())
}

/// Plays the bad story on roles that lack `grant`, and puts the roles back.
async fn without(stack: &Stack, grant: &Grant, namespace: &str) -> Fallible<Fallible> {
    let installed = installed(stack)?;
    *lock(&stack.withheld) = Some((grant.role.clone(), grant.right.clone()));
    apply(stack, &installed, stack::SYSTEM).await?;
    // As on the first day: a Lease that is there needs no right to make one.
    stack.remove_leases().await?;
    let audit = Audit::from_now(&stack.control_plane.audit_log())?;
    let is_second_look = (&*grant.right.verb, &*grant.right.resource) == ("get", "virtualservices");
    let twist = if is_second_look { Twist::NoMarks } else { Twist::None };
    let outcome = match Serin::start(stack, Setup::default()).await {
        Ok(mut serin) => {
            let outcome = story::play(
                stack,
                &mut serin,
                Scene { scenario: Scenario::BadMetric, namespace: namespace.into(), twist },
            )
            .await;
            // Without a right it may not end as it should.
            serin.kill_all().await?;
            outcome
        }
        // A role that never says it is up has failed too; what it was refused tells why.
        Err(error) => super::shop::no_refusal(&audit).and(Err(error)),
    };
    *lock(&stack.withheld) = None;
    apply(stack, &installed, stack::SYSTEM).await?;
    // The node has addresses for ten shops or so. Where serin did not even come up there is no shop.
    stack.remove_namespace(namespace).await?;
    Ok(outcome)
}

/// A role without one right. Its rules are opened to one verb and resource each, so that nothing else goes with it.
fn lacking(object: &Value, right: &Right) -> Value {
    let rules: Vec<Value> = rights(object)
        .into_iter()
        .filter(|own| own != right)
        .map(|Right { group, resource, verb, name }| {
            let mut rule = json!({"apiGroups": [group], "resources": [resource], "verbs": [verb]});
            if !name.is_empty() {
                rule["resourceNames"] = json!([name]);
            }
            rule
        })
        .collect();
    let mut without = object.clone();
    without["rules"] = json!(rules);
    without
}

fn uses(asked: &Asked, grant: &Grant) -> bool {
    let Right { group, resource, verb, name } = &grant.right;
    let own = &asked.right;
    asked.allowed
        && asked.account == grant.account
        && (&own.group, &own.resource, &own.verb) == (group, resource, verb)
        && (name.is_empty() || *name == own.name)
}

/// What is installed once, in serin's namespace.
fn installed(stack: &Stack) -> Fallible<Vec<Value>> {
    read(stack::identity(&stack.settings.root)?)
}

/// What is opened namespace by namespace.
fn optional(stack: &Stack) -> Fallible<Vec<Value>> {
    read(stack::yaml_files(&stack.settings.root.join("deploy/optional"))?)
}

fn read(files: Vec<PathBuf>) -> Fallible<Vec<Value>> {
    let mut all = vec![];
    for file in files {
        all.extend(documents(&std::fs::read_to_string(file)?)?);
    }
    Ok(all)
}

/// What all bindings grant to whom.
fn grants(manifests: &[Value]) -> BTreeSet<Grant> {
    let mut all = BTreeSet::new();
    for binding in manifests {
        let reference = |key: &str| text(binding, &format!("/roleRef/{key}"));
        let bound = (reference("kind"), reference("name"));
        let subjects = binding.get("subjects").and_then(Value::as_array).into_iter().flatten();
        for account in subjects.map(|subject| text(subject, "/name")) {
            for object in manifests.iter().filter(|object| role(object) == bound) {
                all.extend(rights(object).into_iter().map(|right| Grant {
                    role: bound.clone(),
                    account: account.clone(),
                    right,
                }));
            }
        }
    }
    all
}

fn role(object: &Value) -> (String, String) {
    (text(object, "/kind"), text(object, "/metadata/name"))
}

/// The rights of a role, one for each verb, resource and name.
fn rights(role: &Value) -> Vec<Right> {
    let mut all = vec![];
    for rule in role.get("rules").and_then(Value::as_array).into_iter().flatten() {
        let list = |key: &str| -> Vec<String> {
            let values = rule.get(key).and_then(Value::as_array).into_iter().flatten();
            values.filter_map(Value::as_str).map(str::to_owned).collect()
        };
        let names =
            if list("resourceNames").is_empty() { vec![String::new()] } else { list("resourceNames") };
        for group in list("apiGroups") {
            for resource in list("resources") {
                for verb in list("verbs") {
                    all.extend(names.iter().map(|name| Right {
                        group: group.clone(),
                        resource: resource.clone(),
                        verb: verb.clone(),
                        name: name.clone(),
                    }));
                }
            }
        }
    }
    all
}

fn text(object: &Value, pointer: &str) -> String {
    object.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned()
}
