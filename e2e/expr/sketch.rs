//! A condition as a tree of texts, so that a generator can build it and a disagreement can be shrunk.

use crate::rng::Rng;

/// A condition as a tree, so that it can be shrunk.
#[derive(Clone, Debug)]
pub struct Sketch {
    pub parts: Vec<Part>,
}

#[derive(Clone, Debug)]
pub enum Part {
    Text(String),
    Child(Sketch),
}

impl Sketch {
    pub fn text(text: impl Into<String>) -> Self {
        Self { parts: vec![Part::Text(text.into())] }
    }

    /// A template in which each `~` stands for the next child.
    pub fn of(template: &str, children: Vec<Sketch>) -> Self {
        let mut parts = vec![];
        let mut children = children.into_iter();
        for (index, text) in template.split('~').enumerate() {
            if index > 0 {
                parts.extend(children.next().map(Part::Child));
            }
            if !text.is_empty() {
                parts.push(Part::Text(text.to_owned()));
            }
        }
        Self { parts }
    }

    pub fn print(&self) -> String {
        self.parts
            .iter()
            .map(|part| match part {
                Part::Text(text) => text.clone(),
                Part::Child(child) => child.print(),
            })
            .collect()
    }

    /// Every sketch that is this one with one part made simpler, the simplest first.
    pub fn simpler(&self) -> Vec<Sketch> {
        let mut all = vec![];
        for part in &self.parts {
            if let Part::Child(child) = part {
                all.push(child.clone());
            }
        }
        if self.parts.len() > 1 || !matches!(&self.parts[0], Part::Text(text) if text.len() <= 6) {
            for plain in ["true", "1", "nil", "result", "#", "'a'", "[]"] {
                all.push(Self::text(plain));
            }
        }
        for (index, part) in self.parts.iter().enumerate() {
            if let Part::Child(child) = part {
                for simpler in child.simpler() {
                    let mut parts = self.parts.clone();
                    parts[index] = Part::Child(simpler);
                    all.push(Self { parts });
                }
            }
        }
        all
    }
}

/// The condition with a token or character put in, taken out or doubled: what a parser must stand.
pub fn damaged(rng: &mut Rng, text: &str) -> String {
    let mut chars: Vec<char> = text.chars().collect();
    let at = rng.below(chars.len() + 1);
    let tokens = [
        "(", ")", "[", "]", "{", "}", ",", ".", "..", "?", "?.", "??", ":", ";", "|", "||", "&&", "not ",
        "in ", "#", "'", "\"", "`", "=", "==", "!", "<", "-", "1", ".5", " ", "let ", "if ", "else ", "::",
        "//", "/*", "\\", "matches ", "@", "$", "\u{e9}",
    ];
    match rng.below(4) {
        0 if !chars.is_empty() => {
            chars.remove(at.min(chars.len() - 1));
        }
        1 => {
            let end = (at + rng.below(5)).min(chars.len());
            let part: Vec<char> = chars[at..end].to_vec();
            chars.splice(at..at, part);
        }
        _ => {
            let token = *rng.pick(&tokens);
            chars.splice(at..at, token.chars());
        }
    }
    chars.into_iter().collect()
}

/// The text with a digit or a comparison changed: what a condition is after its threshold was.
pub fn varied(rng: &mut Rng, text: &str) -> String {
    let places: Vec<usize> =
        text.char_indices().filter(|(_, c)| matches!(c, '0'..='9' | '<' | '>')).map(|(at, _)| at).collect();
    if places.is_empty() {
        return text.to_owned();
    }
    let at = *rng.pick(&places);
    let new = match &text[at..=at] {
        "<" => ">",
        ">" => "<",
        _ => *rng.pick(&["0", "1", "2", "5", "9"]),
    };
    [&text[..at], new, &text[at + 1..]].concat()
}
