//! What splits the traffic of a Rollout.

use serde_json::Value;

use super::{scalar::any_object, wire};

wire! {
    /// What splits the traffic. Of the routers, this controller implements istio; a rollout that names another one is
    /// refused, and its settings are kept as they are.
    pub struct TrafficRouting {
        /// Istio, by the weights of a VirtualService.
        pub istio: Istio,
        /// Routes that steps may add and remove, from the most to the least important.
        pub managed_routes: Vec<ManagedRoute>,
        /// The weight that stands for all traffic, 1 or more. Default 100. Only for nginx and plugins.
        pub max_traffic_weight: i64,
        /// AWS load balancer controller.
        #[schemars(schema_with = "any_object")]
        pub alb: Value,
        /// Ambassador.
        #[schemars(schema_with = "any_object")]
        pub ambassador: Value,
        /// Apache APISIX.
        #[schemars(schema_with = "any_object")]
        pub apisix: Value,
        /// AWS App Mesh.
        #[schemars(schema_with = "any_object")]
        pub app_mesh: Value,
        /// ingress-nginx.
        #[schemars(schema_with = "any_object")]
        pub nginx: Value,
        /// Plugins of the reference controller, by name.
        #[schemars(schema_with = "any_object")]
        pub plugins: Value,
        /// Service Mesh Interface.
        #[schemars(schema_with = "any_object")]
        pub smi: Value,
        /// Traefik.
        #[schemars(schema_with = "any_object")]
        pub traefik: Value,
    }

    /// A route that steps may add and remove.
    pub struct ManagedRoute {
        /// Its name in the VirtualService. Example: `canary-by-header`.
        pub name: String,
    }

    /// Istio. Exactly one of virtualService and virtualServices must be set.
    pub struct Istio {
        /// The VirtualService whose weights are set.
        pub virtual_service: VirtualServiceRef,
        /// Several VirtualServices that all get the same weights.
        pub virtual_services: Vec<VirtualServiceRef>,
        /// Tells the versions apart by subsets of one host instead of by two Services.
        pub destination_rule: DestinationRuleRef,
    }

    /// A VirtualService and the routes in it that the rollout owns.
    pub struct VirtualServiceRef {
        /// Its name, or `name.namespace` for one in another namespace.
        pub name: String,
        /// Names of HTTP routes. May be left out where there is only one.
        pub routes: Vec<String>,
        /// TLS routes, told by port or server name.
        pub tls_routes: Vec<TlsRoute>,
        /// TCP routes, told by port.
        pub tcp_routes: Vec<TcpRoute>,
    }

    /// Which TLS route. Every field that is set must fit.
    pub struct TlsRoute {
        /// Port that the route matches, 1 to 65535.
        pub port: i64,
        /// Server names that the route matches.
        pub sni_hosts: Vec<String>,
    }

    /// Which TCP route.
    pub struct TcpRoute {
        /// Port that the route matches, 1 to 65535.
        pub port: i64,
    }

    /// A DestinationRule and its subsets.
    pub struct DestinationRuleRef {
        /// Its name, in the rollout's namespace.
        pub name: String,
        /// Subset of the new version's pods.
        pub canary_subset_name: String,
        /// Subset of the stable version's pods.
        pub stable_subset_name: String,
        /// Subsets for the versions of experiments.
        pub additional_subset_names: Vec<String>,
    }
}
