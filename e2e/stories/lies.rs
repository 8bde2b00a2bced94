//! Lies that the judge has to notice: somebody between client and store, or beside serin, makes the story end as it
//! must not, and the judge says so.

use std::{
    io::{Read, Write},
    net::TcpStream,
    path::PathBuf,
};

use serde_json::{Value, json};
use serin::{
    api::http::{Body, Request},
    sim::{
        engine::{self, Author},
        fault::{Intercept, Interceptor},
        play::scenario::Scenario,
        slack::TOKEN,
    },
};

use crate::play::{Play, Seen};

/// Plays with a liar, who is told where the repository and Slack are.
fn lied_to(scenario: Scenario, liar: impl FnOnce(PathBuf, String) -> Interceptor + 'static) -> Seen {
    let seen = Play { liar: Some(Box::new(liar)), ..Play::of(scenario) }.run();
    assert!(!seen.wrong.is_empty(), "the judge saw nothing");
    seen
}

fn says(seen: &Seen, what: &str) {
    assert!(seen.wrong.iter().any(|line| line.contains(what)), "{what}: {:#?}", seen.wrong);
}

/// Calls `act` at each request of `actor` to a resource whose path has `part`.
fn at(
    actor: &'static str,
    part: &'static str,
    mut act: impl FnMut(&mut Request) + Send + 'static,
) -> Interceptor {
    Box::new(move |request, who| {
        if who == actor && request.path.contains(part) {
            act(request);
        }
        Intercept::Pass
    })
}

/// True where this writes that the revert is in Git.
fn is_pushed(request: &Request) -> bool {
    matches!(&request.body, Body::Merge(body) if body["status"]["phase"] == "Pushed")
}

#[test]
fn a_shed_that_leaves_ten_percent() {
    let seen = lied_to(Scenario::BadMetric, |_, _| {
        at("controller", "/virtualservices/", |request| {
            let Body::JsonPatch(Value::Array(operations)) = &mut request.body else { return };
            if !operations.iter().any(|one| one.to_string().contains("shed.serin.dev")) {
                return;
            }
            for one in operations
                .iter_mut()
                .filter(|one| one["path"].as_str().unwrap_or_default().ends_with("/weight"))
            {
                one["value"] = if one["value"] == 0 { json!(10) } else { json!(90) };
            }
        })
    });
    says(&seen, "the verdict was booked before the traffic was taken away");
}

#[test]
fn pods_that_go_before_the_traffic_does() {
    let seen = lied_to(Scenario::BadMetric, |_, _| {
        let mut canary = String::new();
        let mut events = 0;
        Box::new(move |request, who| {
            if who != "controller" {
                return Intercept::Pass;
            }
            if let Some((_, name)) = request.path.rsplit_once("/replicasets/") {
                canary = name.to_owned();
            }
            // An event in the middle of the canary's time becomes its scale-down.
            if request.path.ends_with("/events") {
                events += 1;
                if events == 28 {
                    request.method = serin::api::http::Method::Patch;
                    request.path = format!("/apis/apps/v1/namespaces/shop/replicasets/{canary}");
                    request.body = Body::Merge(json!({"spec": {"replicas": 0}}));
                }
            }
            Intercept::Pass
        })
    });
    says(&seen, "was scaled from");
}

fn bot() -> Author<'static> {
    Author {
        name: "SelfHeal Bot",
        email: "selfheal-bot@example.com",
        at: "2026-01-01T00:05:00Z".parse().unwrap(),
    }
}

#[test]
fn a_second_commit_of_the_bot() {
    let seen = lied_to(Scenario::BadMetric, |repository, _| {
        at("gitops", "/selfheals/", move |request| {
            if is_pushed(request) {
                engine::commit(&repository, &[("more.txt", "more\n")], "Auto-rollback to v1.1.0", bot())
                    .unwrap();
            }
        })
    });
    says(&seen, "the bot made 2 commits instead of one");
}

#[test]
fn a_commit_of_the_bot_although_nothing_failed() {
    let seen = lied_to(Scenario::Good, |repository, _| {
        let mut is_done = false;
        at("controller", "/analysisruns", move |_| {
            if !std::mem::replace(&mut is_done, true) {
                engine::commit(&repository, &[("more.txt", "more\n")], "Auto-rollback to v1.1.0", bot())
                    .unwrap();
            }
        })
    });
    says(&seen, "the bot committed although it must not");
}

#[test]
fn a_second_message() {
    let seen = lied_to(Scenario::BadMetric, |_, slack| {
        at("gitops", "/selfheals/", move |request| {
            if is_pushed(request) {
                post(&slack, &json!({"channel": "deploys", "text": "Rolled back, again"}));
            }
        })
    });
    says(&seen, "instead of one message");
}

/// Posts as a person would, from beside serin.
fn post(api: &str, message: &Value) {
    let host = api.trim_start_matches("http://").split('/').next().unwrap();
    let body = message.to_string();
    let mut stream = TcpStream::connect(host).unwrap();
    write!(
        stream,
        "POST /api/chat.postMessage HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer {TOKEN}\r\nConnection: close\r\n\
         Content-Type: application/json; charset=utf-8\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
    .unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.contains("\"ok\":true"), "{answer}");
}
