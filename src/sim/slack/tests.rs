use super::*;

async fn call(receiver: &SlackReceiver, token: &str, method: &str, sent: Option<Value>) -> (u16, Value) {
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let url = format!("{}{method}", receiver.url);
    let request = match sent {
        Some(body) => client.post(url).json(&body),
        None => client.get(url),
    };
    let Ok(answer) = request.bearer_auth(token).send().await else { return (0, Value::Null) };
    let status = answer.status().as_u16();
    (status, answer.json().await.unwrap_or(Value::Null))
}

fn message(channel: &str, text: &str) -> Value {
    json!({"channel": channel, "text": text, "metadata": {"event_type": "x", "event_payload": {"key": text}}})
}

#[tokio::test]
async fn a_message_is_posted_found_edited_and_rendered() {
    let slack = SlackReceiver::start().unwrap();
    let (_, posted) =
        call(&slack, TOKEN, "chat.postMessage", Some(message("#deploys", "one &amp; *two*"))).await;
    assert_eq!(posted["ok"], true, "{posted}");
    let (channel, ts) = (posted["channel"].as_str().unwrap(), posted["ts"].as_str().unwrap());

    let plain = format!("conversations.history?channel={channel}");
    assert!(call(&slack, TOKEN, &plain, None).await.1["messages"][0].get("metadata").is_none());
    let full = call(&slack, TOKEN, &format!("{plain}&include_all_metadata=true"), None).await.1;
    assert_eq!(full["messages"][0]["metadata"]["event_payload"]["key"], "one &amp; *two*");
    assert_eq!(call(&slack, TOKEN, "conversations.list", None).await.1["channels"][0]["name"], "deploys");

    let edit = |channel: &str, ts: &str| json!({"channel": channel, "ts": ts, "text": "*Git:* done"});
    let named = call(&slack, TOKEN, "chat.update", Some(edit("#deploys", ts))).await.1;
    assert_eq!(named["error"], "channel_not_found", "an edit needs the id");
    assert_eq!(
        call(&slack, TOKEN, "chat.update", Some(edit(channel, "9.9"))).await.1["error"],
        "message_not_found"
    );
    assert_eq!(call(&slack, TOKEN, "chat.update", Some(edit(channel, ts))).await.1["ok"], true);
    assert_eq!(slack.render(), "#deploys  serin (edited)\n  Git: done\n");
    assert_eq!(slack.dump()[0]["earlierTexts"][0], "one &amp; *two*");
}

#[tokio::test]
async fn history_comes_in_pages_newest_first() {
    let slack = SlackReceiver::start().unwrap();
    for n in 0..5 {
        call(&slack, TOKEN, "chat.postMessage", Some(message("c", &n.to_string()))).await;
    }
    let path = "conversations.history?channel=C0000000001&limit=2";
    let first = call(&slack, TOKEN, path, None).await.1;
    assert_eq!((&first["messages"][0]["text"], &first["has_more"]), (&json!("4"), &json!(true)));
    let cursor = first["response_metadata"]["next_cursor"].as_str().unwrap();
    let second = call(&slack, TOKEN, &format!("{path}&cursor={cursor}"), None).await.1;
    assert_eq!(second["messages"][0]["text"], "2");
}

#[tokio::test]
async fn what_slack_refuses_is_refused() {
    let slack = SlackReceiver::start().unwrap();
    let refusal = async |token: &str, sent: Value| {
        call(&slack, token, "chat.postMessage", Some(sent)).await.1["error"]
            .as_str()
            .unwrap_or_default()
            .to_owned()
    };
    assert_eq!(refusal("wrong", message("c", "x")).await, "invalid_auth");
    assert_eq!(refusal(TOKEN, message("Not A Channel", "x")).await, "channel_not_found");
    assert_eq!(refusal(TOKEN, message("c", "")).await, "no_text");
    let long = json!({"type": "header", "text": {"type": "plain_text", "text": "x".repeat(151)}});
    assert_eq!(refusal(TOKEN, json!({"channel": "c", "blocks": [long]})).await, "invalid_blocks");
    assert_eq!(
        refusal(TOKEN, json!({"channel": "c", "text": "x", "metadata": {"key": 1}})).await,
        "invalid_metadata_format"
    );
    assert_eq!(slack.messages(), []);
}

#[tokio::test]
async fn faults_follow_the_script() {
    let slack = SlackReceiver::start().unwrap();
    slack.set_faults(Faults {
        next: VecDeque::from([Some(Fault::RateLimited(3)), Some(Fault::DropAfter), None]),
        always: BTreeMap::from([("chat.postMessage", Fault::Error("is_archived"))]),
        missing_scopes: BTreeSet::from(["channels:history"]),
    });
    let post = async || call(&slack, TOKEN, "chat.postMessage", Some(message("c", "x"))).await;
    assert_eq!(post().await.0, 429);
    assert_eq!((post().await.1, slack.messages().len()), (Value::Null, 1), "took effect, answer cut off");
    assert_eq!(post().await.1["ok"], true);
    assert_eq!(post().await.1["error"], "is_archived");
    let history = call(&slack, TOKEN, "conversations.history?channel=C0000000001", None).await.1;
    assert_eq!(
        (&history["error"], &history["needed"]),
        (&json!("missing_scope"), &json!("channels:history"))
    );
    assert_eq!(slack.calls().len(), 5);
}

#[tokio::test]
async fn a_hanging_call_does_not_hold_up_the_end() {
    let slack = SlackReceiver::start().unwrap();
    slack.set_faults(Faults { next: VecDeque::from([Some(Fault::HangAfter)]), ..Faults::default() });
    let mut calls = slack.watch_calls();
    let url = format!("{}chat.postMessage", slack.url);
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let waiting = tokio::spawn(client.post(url).bearer_auth(TOKEN).json(&message("c", "x")).send());
    calls.changed().await.unwrap();
    while slack.messages().is_empty() {
        tokio::task::yield_now().await;
    }
    drop(slack);
    assert!(waiting.await.unwrap().is_err());
}
