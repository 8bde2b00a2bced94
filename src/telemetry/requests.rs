//! Counts every request to the API server where all of them pass: in the client.

use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use http::{Method, Request, Response};
use tower::{Layer, Service};
use tracing::{Instrument as _, Span, field::Empty};

use super::Metrics;

/// Monotonic time since any fixed moment.
type Steady = fn() -> Duration;

/// Wraps a client's service so that each request is counted.
#[derive(Clone, Debug)]
pub struct Counting {
    metrics: Metrics,
    steady: Steady,
}

impl Counting {
    /// Counts into `metrics`, and takes times by `steady`.
    pub fn new(metrics: Metrics, steady: Steady) -> Self {
        Self { metrics, steady }
    }
}

impl<S> Layer<S> for Counting {
    type Service = Counted<S>;

    fn layer(&self, inner: S) -> Counted<S> {
        Counted { inner, counting: self.clone() }
    }
}

/// See [`Counting`].
#[derive(Clone, Debug)]
pub struct Counted<S> {
    inner: S,
    counting: Counting,
}

impl<S, B, A> Service<Request<B>> for Counted<S>
where
    S: Service<Request<B>, Response = Response<A>>,
    S::Future: Send + 'static,
{
    type Response = Response<A>;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Response<A>, S::Error>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let (kind, verb) = subject(request.method(), request.uri().path(), request.uri().query());
        let began = (self.counting.steady)();
        let span = tracing::info_span!(
            target: "trace",
            "request",
            k8s.verb = verb,
            k8s.resource = kind,
            http.response.status_code = Empty
        );
        let asked = Asked { counting: self.counting.clone(), kind, verb, began, status: 0 };
        let answer = self.inner.call(request);
        Box::pin(
            async move {
                // As a whole: what is dropped unanswered counts, too.
                let mut asked = asked;
                let answer = answer.await;
                if let Ok(answer) = &answer {
                    asked.status = answer.status().as_u16();
                    Span::current().record("http.response.status_code", asked.status);
                }
                answer
            }
            .instrument(span),
        )
    }
}

/// Counted when it ends, also where it is given up because no answer came in time.
struct Asked {
    counting: Counting,
    kind: String,
    verb: &'static str,
    began: Duration,
    status: u16,
}

impl Drop for Asked {
    fn drop(&mut self) {
        let took = (self.counting.steady)().saturating_sub(self.began);
        self.counting.metrics.request(&self.kind, self.verb, self.status, took.as_secs_f64());
    }
}

/// The resource of a path, and what is done to it in Kubernetes's words. Only resources that serin itself names can
/// appear, so the labels are few.
fn subject(method: &Method, path: &str, query: Option<&str>) -> (String, &'static str) {
    let mut parts = path.trim_matches('/').split('/');
    let versioned = match parts.next() {
        Some("api") => parts.next().is_some(),
        Some("apis") => parts.next().is_some() && parts.next().is_some(),
        _ => false,
    };
    let rest: Vec<&str> = if versioned { parts.collect() } else { vec![] };
    let (kind, has_name) = match rest.as_slice() {
        ["namespaces", _, kind, name @ ..] => (*kind, !name.is_empty()),
        [kind, name @ ..] => (*kind, !name.is_empty()),
        [] => ("discovery", true),
    };
    let is_watch = query
        .is_some_and(|query| query.split('&').any(|one| matches!(one, "watch" | "watch=1" | "watch=true")));
    let verb = match *method {
        Method::GET if is_watch => "Watch",
        Method::GET if has_name => "Get",
        Method::GET => "List",
        Method::POST => "Create",
        Method::PUT => "Update",
        Method::PATCH => "Patch",
        Method::DELETE => "Delete",
        _ => "Unknown",
    };
    (kind.to_owned(), verb)
}

#[cfg(test)]
mod tests {
    use tower::{ServiceExt, service_fn};

    use super::*;
    use crate::telemetry::Snapshot;

    #[test]
    fn paths_are_read_as_kubernetes_means_them() {
        let of = |method: Method, path: &str, query: &str| {
            let (kind, verb) = subject(&method, path, Some(query));
            format!("{verb} {kind}")
        };
        let rollouts = "/apis/argoproj.io/v1alpha1/rollouts";
        assert_eq!(of(Method::GET, rollouts, "limit=100"), "List rollouts");
        assert_eq!(of(Method::GET, rollouts, "labelSelector=a&watch=true"), "Watch rollouts");
        let one = "/apis/argoproj.io/v1alpha1/namespaces/shop/rollouts/cart/status";
        assert_eq!(of(Method::PATCH, one, ""), "Patch rollouts");
        assert_eq!(of(Method::POST, "/api/v1/namespaces/shop/events", ""), "Create events");
        assert_eq!(of(Method::GET, "/api/v1/namespaces/shop/secrets/x", ""), "Get secrets");
        assert_eq!(of(Method::GET, "/api/v1/namespaces/shop", ""), "Get namespaces");
        assert_eq!(of(Method::GET, "/apis", ""), "Get discovery");
    }

    #[tokio::test]
    async fn a_request_is_counted_with_its_answer_and_also_without_one() {
        let metrics = Metrics::new("test");
        let server = service_fn(|request: Request<()>| async move {
            match request.uri().path() {
                "/api/v1/services" => std::future::pending().await,
                _ => Response::builder().status(409).body(()),
            }
        });
        let mut client = Counting::new(metrics.clone(), Duration::default).layer(server);
        let ask = |path: &str| Request::get(path).body(()).unwrap();
        client.ready().await.unwrap().call(ask("/api/v1/pods")).await.unwrap();
        drop(client.ready().await.unwrap().call(ask("/api/v1/services")));
        let page = metrics.render(Snapshot::default());
        for line in [
            r#"controller_clientset_k8s_request_total{kind="pods",verb="List",status_code="409"} 1.0"#,
            r#"controller_clientset_k8s_request_total{kind="services",verb="List",status_code="0"} 1.0"#,
            r#"rollout_api_request_seconds_count{verb="List"} 2"#,
        ] {
            assert!(page.lines().any(|have| have == line), "missing {line} in\n{page}");
        }
    }
}
