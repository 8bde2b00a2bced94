//! A message as Slack takes it, within Slack's bounds. No I/O. No clock.

use serde_json::{Value, json};
use sha2::{Digest, Sha256};

/// Slack's bounds: characters of a header, of a section's text, and of the fallback text that it shows whole.
const HEADER_CHARS: usize = 150;
const SECTION_CHARS: usize = 3000;
const FALLBACK_CHARS: usize = 4000;

/// What is sent: blocks for people, and one plain sentence for notifications on a phone and for screen readers.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Message {
    /// Fallback text, escaped.
    pub text: String,
    pub blocks: Value,
}

impl Message {
    /// A message of a title (plain), lines (mrkdwn, each under 3000 characters) and a small closing line.
    pub(super) fn new(title: &str, lines: &[String], foot: &str) -> Self {
        let header = super::words::clip(title, HEADER_CHARS);
        let mut blocks =
            vec![json!({"type": "header", "text": {"type": "plain_text", "text": header, "emoji": false}})];
        blocks
            .extend(packed(lines).into_iter().map(|text| json!({"type": "section", "text": mrkdwn(&text)})));
        if !foot.is_empty() {
            blocks.push(json!({"type": "context", "elements": [mrkdwn(foot)]}));
        }
        let mut text = super::words::plain(title, FALLBACK_CHARS / 4);
        for line in lines {
            let longer = format!("{text}\n{line}");
            if longer.chars().count() > FALLBACK_CHARS {
                break;
            }
            text = longer;
        }
        Self { text, blocks: Value::Array(blocks) }
    }

    /// The same message, marked: nobody can tell whether it had been sent before.
    pub(super) fn marked_as_possible_repeat(mut self) -> Self {
        let note = "This may be a repeat: the answer to an earlier attempt was lost, and serin cannot read this channel's history.";
        if let Some(blocks) = self.blocks.as_array_mut() {
            blocks.push(json!({"type": "context", "elements": [mrkdwn(note)]}));
        }
        self
    }

    /// Hash of what people see. Another hash means that a message sent earlier is to be edited.
    pub(super) fn digest(&self) -> String {
        hex(&[&self.text, &self.blocks.to_string()], 32)
    }
}

/// The first `length` hex digits of a hash over `parts`, which cannot run into each other.
pub(super) fn hex(parts: &[&str], length: usize) -> String {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update(u64::try_from(part.len()).unwrap_or(u64::MAX).to_be_bytes());
        hash.update(part);
    }
    let mut digits: String = hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
    digits.truncate(length);
    digits
}

/// `verbatim`: Slack must not turn names and addresses that others wrote into mentions and links.
fn mrkdwn(text: &str) -> Value {
    json!({"type": "mrkdwn", "text": text, "verbatim": true})
}

/// Lines joined into as few texts as fit a section each.
fn packed(lines: &[String]) -> Vec<String> {
    let mut out: Vec<String> = vec![];
    for line in lines {
        match out.last_mut() {
            Some(last) if last.chars().count() + 1 + line.chars().count() <= SECTION_CHARS => {
                last.push('\n');
                last.push_str(line);
            }
            _ => out.push(line.clone()),
        }
    }
    out
}
