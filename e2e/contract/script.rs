//! Cases as text: one request a line.
//!
//! ```text
//! = a failed test is refused without a detail
//! POST rollouts @rollouts {"spec": {"replicas": 3}}
//! JSON rollouts/x [{"op": "test", "path": "/spec/replicas", "value": 9}]
//! PUT rollouts/x {{1}} + {"spec": {"replicas": 4}}
//! ```
//!
//! A line that begins with a space goes on with the one before. `@name` is an object of `objects.txt`, with a merge patch on top; `{{1}}`
//! is the body of the first answer, `{{1/metadata/uid}}` a part of it; `+` lays a merge patch over it. A path begins with a
//! plural (with `@version` where it is not the usual one), or with a slash; `{ns}` is the namespace of the case.
//! `~` before a verb leaves the text of a refusal out of the comparison: Go's decoders have words that nobody acts on.
//! `! why` in a case says that the embedded server refuses its last request by design.

use std::{collections::BTreeMap, fmt, fs, path::Path};

use json_patch::merge;
use serde_json::Value;

use crate::Fallible;

/// One case: requests to be sent in order, in a namespace of their own.
#[derive(Clone, Debug)]
pub(crate) struct Case {
    pub(crate) name: String,
    pub(crate) steps: Vec<Step>,
    /// Why the embedded server refuses the last request, where it does.
    pub(crate) refused: Option<String>,
    /// Set where the case was drawn.
    pub(crate) seed: Option<u64>,
}

/// One request.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Step {
    pub(crate) verb: String,
    pub(crate) path: String,
    /// As sent, but for `{{..}}`.
    pub(crate) body: String,
    /// The text of the answer is not compared.
    pub(crate) any_text: bool,
}

/// All hand-written cases, and what drawn ones are made of.
#[derive(Debug, Default)]
pub(crate) struct Vocabulary {
    pub(crate) cases: Vec<Case>,
    /// By plural.
    pub(crate) objects: BTreeMap<String, Value>,
    /// Plural, JSON pointer, values: what patches put where.
    pub(crate) choices: Vec<(String, String, Vec<Value>)>,
}

impl fmt::Display for Case {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(out, "= {}", self.name)?;
        self.steps.iter().try_for_each(|step| writeln!(out, "{} {} {}", step.verb, step.path, step.body))
    }
}

impl Vocabulary {
    /// Reads the folder: `objects.txt`, `choices.txt`, and cases in all other files.
    ///
    /// # Errors
    /// With the line that cannot be read.
    pub(crate) fn read(folder: &Path) -> Fallible<Self> {
        let mut all = Self::default();
        for line in lines(&folder.join("objects.txt"))? {
            let (name, text) = line.split_once(" = ").ok_or_else(|| format!("objects.txt: {line}"))?;
            let object =
                serde_json::from_str(text).map_err(|error| format!("objects.txt, {name}: {error}"))?;
            all.objects.insert(name.trim().to_owned(), object);
        }
        for line in lines(&folder.join("choices.txt"))? {
            let wrong = || format!("choices.txt: {line}");
            let (plural, rest) = line.split_once(' ').ok_or_else(wrong)?;
            let (pointer, values) = rest.trim().split_once(' ').ok_or_else(wrong)?;
            let values = values.split(" | ").map(|text| serde_json::from_str(text.trim()));
            let values: Vec<Value> =
                values.collect::<Result<_, _>>().map_err(|error| format!("{}: {error}", wrong()))?;
            all.choices.push((plural.to_owned(), pointer.to_owned(), values));
        }
        let mut files: Vec<_> =
            fs::read_dir(folder)?.map(|entry| entry.map(|it| it.path())).collect::<Result<_, _>>()?;
        files.retain(|path| !["objects.txt", "choices.txt"].iter().any(|name| path.ends_with(name)));
        files.sort();
        for file in files {
            let topic = file.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default();
            all.read_cases(&topic, &lines(&file)?)?;
        }
        Ok(all)
    }

    fn read_cases(&mut self, topic: &str, lines: &[String]) -> Fallible {
        for line in lines {
            if let Some(name) = line.strip_prefix("= ") {
                let name = format!("{topic}: {name}");
                self.cases.push(Case { name, steps: vec![], refused: None, seed: None });
                continue;
            }
            let why = line.strip_prefix("! ");
            let step = if why.is_some() { None } else { Some(self.step(line)?) };
            let case = self.cases.last_mut().ok_or_else(|| format!("{topic}: no case before {line}"))?;
            case.steps.extend(step);
            case.refused = why.map(str::to_owned).or(case.refused.take());
        }
        Ok(())
    }

    fn step(&self, line: &str) -> Fallible<Step> {
        let mut words = line.splitn(3, ' ');
        let mut next = || words.next().unwrap_or_default().to_owned();
        let (verb, path, body) = (next(), next(), next());
        let body = match body.strip_prefix('@') {
            Some(named) => {
                let (name, change) = named.split_once(' ').unwrap_or((named, "{}"));
                let mut object = self.objects.get(name).ok_or_else(|| format!("no object @{name}"))?.clone();
                let change = serde_json::from_str(change).map_err(|error| format!("{line}: {error}"))?;
                merge(&mut object, &change);
                object.to_string()
            }
            None => body,
        };
        let any_text = verb.starts_with('~');
        Ok(Step { verb: verb.trim_start_matches('~').to_owned(), path, body, any_text })
    }
}

/// The lines of a file, continued ones joined, without comments and empty ones.
fn lines(path: &Path) -> Fallible<Vec<String>> {
    let text = fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))?;
    let mut lines: Vec<String> = vec![];
    for line in text.lines().filter(|line| !line.trim().is_empty() && !line.starts_with('#')) {
        match lines.last_mut().filter(|_| line.starts_with(' ')) {
            Some(last) => {
                last.push(' ');
                last.push_str(line.trim());
            }
            None => lines.push(line.trim_end().to_owned()),
        }
    }
    Ok(lines)
}
