//! Where the value of a metric comes from.

use serde_json::Value;

use super::{scalar::any_object, wire};

wire! {
    /// Where the value comes from; exactly one field must be set. This controller implements prometheus; a metric with
    /// another provider is an error, and its settings are kept as they are.
    pub struct MetricProvider {
        /// A query to Prometheus.
        pub prometheus: Prometheus,
        /// A query to Amazon CloudWatch.
        #[schemars(schema_with = "any_object")]
        pub cloud_watch: Value,
        /// A query to Datadog.
        #[schemars(schema_with = "any_object")]
        pub datadog: Value,
        /// A query to Graphite.
        #[schemars(schema_with = "any_object")]
        pub graphite: Value,
        /// A query to InfluxDB.
        #[schemars(schema_with = "any_object")]
        pub influxdb: Value,
        /// The exit status of a Job.
        #[schemars(schema_with = "any_object")]
        pub job: Value,
        /// A judgement by Kayenta.
        #[schemars(schema_with = "any_object")]
        pub kayenta: Value,
        /// A query to New Relic.
        #[schemars(schema_with = "any_object")]
        pub new_relic: Value,
        /// Plugins of the reference controller, by name.
        #[schemars(schema_with = "any_object")]
        pub plugin: Value,
        /// A query to Apache SkyWalking.
        #[schemars(schema_with = "any_object")]
        pub skywalking: Value,
        /// A query to Wavefront.
        #[schemars(schema_with = "any_object")]
        pub wavefront: Value,
        /// The answer of an HTTP server.
        #[schemars(schema_with = "any_object")]
        pub web: Value,
    }

    /// A query to Prometheus, or to a server with the same API. Its result is a list of values for a vector, one value
    /// for a scalar.
    pub struct Prometheus {
        /// Base URL of the server. Example: `http://prometheus.monitoring:9090`. Absent: the controller's own setting.
        pub address: String,
        /// The query (PromQL).
        pub query: String,
        /// Seconds to wait for the answer, 1 or more. Absent: the controller's own setting.
        pub timeout: i64,
        /// Whether a certificate that cannot be verified is accepted. Default false.
        pub insecure: bool,
        /// Headers sent with the query.
        pub headers: Vec<QueryHeader>,
        /// How the controller proves who it is.
        pub authentication: PrometheusAuthentication,
        /// Asks for a range of time instead of for now.
        pub range_query: RangeQuery,
    }

    /// A header.
    pub struct QueryHeader {
        /// Its name. Example: `X-Scope-OrgID`.
        pub key: String,
        /// Its value.
        pub value: String,
    }

    /// How the controller proves who it is.
    pub struct PrometheusAuthentication {
        /// Client credentials of OAuth 2.0.
        pub oauth2: OAuth2,
        /// AWS Signature Version 4.
        pub sigv4: Sigv4,
    }

    /// Client credentials of OAuth 2.0.
    pub struct OAuth2 {
        /// Where tokens are issued.
        pub token_url: String,
        /// Id of the client.
        pub client_id: String,
        /// Secret of the client; use an argument that comes from a Secret.
        pub client_secret: String,
        /// Scopes to ask for.
        pub scopes: Vec<String>,
    }

    /// AWS Signature Version 4.
    pub struct Sigv4 {
        /// Region. Example: `eu-central-1`.
        pub region: String,
        /// Name of a profile.
        pub profile: String,
        /// Role to assume.
        pub role_arn: String,
    }

    /// A range of time. Start and end are expressions such as `now() - duration("5m")`.
    pub struct RangeQuery {
        /// Begin of the range. Required.
        pub start: String,
        /// End of the range. Required.
        pub end: String,
        /// Time between two values, as a duration. Example: `1m`.
        pub step: String,
    }
}
