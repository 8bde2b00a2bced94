//! Where log lines go and what they look like. Never on stdout: that belongs to the verbs.

use std::io::IsTerminal;

use tracing::level_filters::LevelFilter;
use tracing_subscriber::{
    EnvFilter, Layer, Registry, filter::ParseError, layer::SubscriberExt, util::SubscriberInitExt,
};

use super::traces::Spans;

/// The target of spans that go to a collector of traces. No log line carries them.
pub const SPANS: &str = "trace";

/// Where kube logs that a request failed, without saying which. Whoever sent it says so with its object.
const NAMELESS_FAILURES: &str = "kube_client::client::builder";

/// The shape of a log line.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Format {
    /// For people; coloured when stderr is a terminal.
    #[default]
    Text,
    /// One JSON object a line, fields at the top level.
    Json,
}

impl std::str::FromStr for Format {
    type Err = LogError;

    fn from_str(text: &str) -> Result<Self, LogError> {
        match text {
            "text" => Ok(Self::Text),
            "json" => Ok(Self::Json),
            other => Err(LogError::Format { given: other.to_owned() }),
        }
    }
}

/// What the `--loglevel` and `--logformat` flags say.
#[derive(Clone, Debug, Default)]
pub struct Options {
    pub format: Format,
    /// `error`, `warn`, `info`, `debug`, `trace`; also `warning`, `fatal` and `panic`, which deployments of the
    /// reference controller may carry; empty means `info`. Other crates log at `warn` unless this is `trace`.
    pub level: String,
    /// Directives of `RUST_LOG`, for instance `serin=debug,kube=info`; where they are given, `level` does not count.
    pub directives: String,
}

/// Why logging could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    #[error("log format {given:?} is neither `text` nor `json`")]
    Format { given: String },
    #[error("log level {given:?} is none of error, warn, info, debug, trace")]
    Level { given: String },
    #[error("RUST_LOG {given:?} cannot be read: {why}")]
    Directives { given: String, why: String },
    #[error("a subscriber for log lines is installed already")]
    Installed(#[source] tracing_subscriber::util::TryInitError),
}

/// An error with what caused it: the outermost often says no more than that a request failed.
pub fn with_causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let said = error.to_string();
        if !text.contains(&said) {
            text.push_str(": ");
            text.push_str(&said);
        }
        cause = error.source();
    }
    text
}

/// Installs the process's subscriber: log lines, and `spans` where traces are wanted. Called once, before anything logs.
///
/// # Errors
/// `Level` for an unknown level, `Directives` for directives that cannot be read, `Installed` when called twice.
pub fn init(options: &Options, spans: Option<Spans>) -> Result<(), LogError> {
    let layers: Vec<Spans> = [layer(options, std::io::stderr)?].into_iter().chain(spans).collect();
    tracing_subscriber::registry().with(layers).try_init().map_err(LogError::Installed)
}

/// The layer that `init` installs, writing to `writer`.
fn layer<W>(options: &Options, writer: W) -> Result<Box<dyn Layer<Registry> + Send + Sync>, LogError>
where
    W: for<'a> tracing_subscriber::fmt::MakeWriter<'a> + Send + Sync + 'static,
{
    let filter = filter(options)?;
    let plain = tracing_subscriber::fmt::layer().with_writer(writer);
    Ok(match options.format {
        Format::Text => plain.with_ansi(std::io::stderr().is_terminal()).with_filter(filter).boxed(),
        Format::Json => plain.json().flatten_event(true).with_ansi(false).with_filter(filter).boxed(),
    })
}

fn filter(options: &Options) -> Result<EnvFilter, LogError> {
    let given = options.directives.trim();
    if !given.is_empty() {
        let wrong = |why: ParseError| LogError::Directives { given: given.to_owned(), why: why.to_string() };
        return EnvFilter::try_new(format!("{given},{SPANS}=off")).map_err(wrong);
    }
    let ours = match options.level.as_str() {
        "" => LevelFilter::INFO,
        "warning" => LevelFilter::WARN,
        "fatal" | "panic" => LevelFilter::ERROR,
        other => other
            .parse::<tracing::Level>()
            .map(LevelFilter::from_level)
            .map_err(|_| LogError::Level { given: other.to_owned() })?,
    };
    // A library's chatter would bury the one line that is read at 03:00.
    if ours == LevelFilter::TRACE {
        return Ok(EnvFilter::new(format!("debug,serin=trace,{SPANS}=off")));
    }
    let others = ours.min(LevelFilter::WARN);
    Ok(EnvFilter::new(format!("{others},{NAMELESS_FAILURES}=off,serin={ours},{SPANS}=off")))
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;

    #[derive(Clone, Default)]
    struct Sink(Arc<Mutex<Vec<u8>>>);

    impl std::io::Write for Sink {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner).extend_from_slice(bytes);
            Ok(bytes.len())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    fn logged(format: Format, level: &str) -> String {
        logged_by(format, level, "")
    }

    fn logged_by(format: Format, level: &str, directives: &str) -> String {
        let sink = Sink::default();
        let writer = sink.clone();
        let options = Options { format, level: level.to_owned(), directives: directives.to_owned() };
        let layer = layer(&options, move || writer.clone()).unwrap();
        tracing::subscriber::with_default(tracing_subscriber::registry().with(layer), || {
            let _traced = tracing::info_span!(target: "trace", "pass").entered();
            tracing::info!(weight.percent = 20, "Aborted canary of `shop/cart` at 20%");
            tracing::info!(target: "hyper::client", "pool is full");
        });
        String::from_utf8(sink.0.lock().unwrap().clone()).unwrap()
    }

    #[test]
    fn json_lines_carry_dotted_fields_at_the_top_level() {
        let line: serde_json::Value = serde_json::from_str(logged(Format::Json, "info").trim()).unwrap();
        assert_eq!(line["message"], "Aborted canary of `shop/cart` at 20%");
        assert_eq!(line["weight.percent"], 20);
    }

    #[test]
    fn libraries_are_quiet_at_info() {
        assert!(!logged(Format::Text, "info").contains("pool is full"));
        assert!(logged(Format::Text, "trace").contains("pool is full"));
        assert_eq!(logged(Format::Text, "warning"), "");
    }

    #[test]
    fn causes_are_told_once_each() {
        #[derive(Debug, thiserror::Error)]
        #[error("the list failed: no connection")]
        struct Outer(#[source] Middle);
        #[derive(Debug, thiserror::Error)]
        #[error("no connection")]
        struct Middle(#[source] std::io::Error);
        let error = Outer(Middle(std::io::ErrorKind::ConnectionRefused.into()));
        assert_eq!(with_causes(&error), "the list failed: no connection: connection refused");
    }

    #[test]
    fn directives_take_the_place_of_the_level() {
        assert_eq!(logged_by(Format::Text, "trace", "serin=warn"), "");
        assert!(logged_by(Format::Text, "error", "hyper=info").contains("pool is full"));
        let options = Options { directives: "serin=loud".to_owned(), ..Options::default() };
        assert!(filter(&options).unwrap_err().to_string().contains("\"serin=loud\""));
    }

    #[test]
    fn no_line_carries_a_span_that_is_for_the_collector() {
        for (level, directives) in [("trace", ""), ("info", "trace")] {
            assert!(!logged_by(Format::Text, level, directives).contains("pass"), "{level} {directives}");
        }
    }

    #[test]
    fn unknown_levels_and_formats_are_refused_by_name() {
        let loud = Options { level: "loud".to_owned(), ..Options::default() };
        assert!(filter(&loud).unwrap_err().to_string().contains("\"loud\""));
        assert!("xml".parse::<Format>().unwrap_err().to_string().contains("\"xml\""));
    }
}
