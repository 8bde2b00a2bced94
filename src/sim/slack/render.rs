//! A message as lines of a terminal.

use serde_json::Value;

use super::Message;

impl Message {
    /// Channel, lines as people see them, and whether it was edited.
    pub fn render(&self) -> String {
        let edited = match self.earlier.len() {
            0 => String::new(),
            1 => " (edited)".to_owned(),
            times => format!(" (edited {times} times)"),
        };
        let mut lines = vec![format!("#{}  serin{edited}", self.channel)];
        let blocks = self.blocks.as_array().map(Vec::as_slice).unwrap_or_default();
        if blocks.is_empty() {
            lines.extend(shown(&self.text));
        }
        for block in blocks {
            let single = std::iter::once(&block["text"]);
            let texts = single.chain(block["elements"].as_array().into_iter().flatten());
            for text in texts.filter(|text| !text.is_null()) {
                let content = text["text"].as_str().unwrap_or_default();
                lines.extend(if text["type"] == "plain_text" {
                    vec![content.to_owned()]
                } else {
                    shown(content)
                });
            }
        }
        lines.join("\n  ") + "\n"
    }
}

/// mrkdwn without its marks: bold and code lose their signs, links show text and address, entities are characters.
fn shown(mrkdwn: &str) -> Vec<String> {
    mrkdwn.lines().map(|line| unescape(&links(&unbold(line).replace('`', "")))).collect()
}

/// `*What:* x` as `What: x`; a star elsewhere stays.
fn unbold(line: &str) -> String {
    let bold = line.strip_prefix('*').and_then(|rest| rest.split_once('*'));
    bold.map_or_else(|| line.to_owned(), |(bold, rest)| format!("{bold}{rest}"))
}

fn links(line: &str) -> String {
    let mut out = String::new();
    let mut rest = line;
    while let Some((before, after)) = rest.split_once('<') {
        out.push_str(before);
        let Some((inside, tail)) = after.split_once('>') else {
            out.push('<');
            rest = after;
            break;
        };
        match inside.split_once('|') {
            Some((address, text)) => out.push_str(&format!("{text} ({address})")),
            None => out.push_str(inside),
        }
        rest = tail;
    }
    out + rest
}

fn unescape(text: &str) -> String {
    text.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&")
}

/// The texts that a person reads first, for tests and the narrator.
impl Message {
    /// The value after `name` at the beginning of a line, for instance `Git`.
    pub fn line(&self, name: &str) -> Option<String> {
        let start = format!("{name}: ");
        self.render().lines().find_map(|line| line.trim_start().strip_prefix(&start).map(str::to_owned))
    }

    /// The identity that serin put into the metadata.
    pub fn key(&self) -> &str {
        let payload: &Value = &self.metadata["event_payload"];
        payload["key"].as_str().unwrap_or_default()
    }
}
