//! What Slack refuses in a message.

use serde_json::Value;

/// The error that Slack answers, if it would.
pub(super) fn broken(sent: &Value) -> Option<&'static str> {
    let text = sent["text"].as_str().unwrap_or_default();
    let blocks = sent["blocks"].as_array();
    if text.is_empty() && blocks.is_none_or(Vec::is_empty) {
        return Some("no_text");
    }
    if text.chars().count() > 40_000 {
        return Some("msg_too_long");
    }
    let blocks = blocks.map(Vec::as_slice).unwrap_or_default();
    if blocks.len() > 50 || !blocks.iter().all(is_valid) {
        return Some("invalid_blocks");
    }
    let metadata = &sent["metadata"];
    let is_described = metadata["event_type"].is_string() && metadata["event_payload"].is_object();
    (!metadata.is_null() && !is_described).then_some("invalid_metadata_format")
}

fn is_valid(block: &Value) -> bool {
    let fits = |text: &Value, kind: &str, most: usize| {
        let length = text["text"].as_str().map_or(0, |text| text.chars().count());
        text["type"] == kind && (1..=most).contains(&length)
    };
    match block["type"].as_str() {
        Some("header") => fits(&block["text"], "plain_text", 150),
        Some("section") => fits(&block["text"], "mrkdwn", 3000),
        Some("context") => {
            let elements = block["elements"].as_array().map(Vec::as_slice).unwrap_or_default();
            (1..=10).contains(&elements.len()) && elements.iter().all(|one| fits(one, "mrkdwn", 3000))
        }
        Some("divider") => true,
        _ => false,
    }
}
