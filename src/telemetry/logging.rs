//! Where log lines go and what they look like. Never on stdout: that belongs to the verbs.

use std::io::IsTerminal;

use tracing::level_filters::LevelFilter;
use tracing_subscriber::{EnvFilter, Layer, Registry, layer::SubscriberExt, util::SubscriberInitExt};

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
}

/// Why logging could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    #[error("log format {given:?} is neither `text` nor `json`")]
    Format { given: String },
    #[error("log level {given:?} is none of error, warn, info, debug, trace")]
    Level { given: String },
    #[error("a subscriber for log lines is installed already")]
    Installed(#[source] tracing_subscriber::util::TryInitError),
}

/// Installs the process's subscriber. Called once, before anything logs.
///
/// # Errors
/// `Level` for an unknown level, `Installed` when called twice.
pub fn init(options: &Options) -> Result<(), LogError> {
    tracing_subscriber::registry()
        .with(layer(options, std::io::stderr)?)
        .try_init()
        .map_err(LogError::Installed)
}

/// The layer that `init` installs, writing to `writer`.
fn layer<W>(options: &Options, writer: W) -> Result<Box<dyn Layer<Registry> + Send + Sync>, LogError>
where
    W: for<'a> tracing_subscriber::fmt::MakeWriter<'a> + Send + Sync + 'static,
{
    let filter = filter(&options.level)?;
    let plain = tracing_subscriber::fmt::layer().with_writer(writer);
    Ok(match options.format {
        Format::Text => plain.with_ansi(std::io::stderr().is_terminal()).with_filter(filter).boxed(),
        Format::Json => plain.json().flatten_event(true).with_ansi(false).with_filter(filter).boxed(),
    })
}

fn filter(level: &str) -> Result<EnvFilter, LogError> {
    let ours = match level {
        "" => LevelFilter::INFO,
        "warning" => LevelFilter::WARN,
        "fatal" | "panic" => LevelFilter::ERROR,
        other => other
            .parse::<tracing::Level>()
            .map(LevelFilter::from_level)
            .map_err(|_| LogError::Level { given: other.to_owned() })?,
    };
    // A library's chatter would bury the one line that is read at 03:00.
    let others = if ours == LevelFilter::TRACE { LevelFilter::DEBUG } else { ours.min(LevelFilter::WARN) };
    Ok(EnvFilter::new(format!("{others},serin={ours}")))
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
        let sink = Sink::default();
        let writer = sink.clone();
        let layer = layer(&Options { format, level: level.to_owned() }, move || writer.clone()).unwrap();
        tracing::subscriber::with_default(tracing_subscriber::registry().with(layer), || {
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
    fn unknown_levels_and_formats_are_refused_by_name() {
        assert!(filter("loud").unwrap_err().to_string().contains("\"loud\""));
        assert!("xml".parse::<Format>().unwrap_err().to_string().contains("\"xml\""));
    }
}
