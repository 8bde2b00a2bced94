//! Laws of the end: with every fault gone and a helpful person at hand, the rollout has come to its end and rests.

use super::{
    Law, Oracle, Resource, World,
    view::{self, Rollout, Split},
};

impl Oracle {
    /// Whether everything has arrived at what the spec asks for.
    pub fn is_at_end(&self, world: &World, image: &str) -> bool {
        self.unfinished(world, image).is_none()
    }

    /// Judges the end: what is not finished, and what is left behind.
    pub fn end(&mut self, world: &World, image: &str) {
        self.look(world);
        if let Some(why) = self.unfinished(world, image) {
            self.broken(Law::I9, why);
        }
        for (_, object) in world.store().objects(Resource::AnalysisRuns) {
            let size = object.to_string().len();
            if size > 256 * 1024 {
                self.broken(Law::I20, format!("an AnalysisRun of {size} bytes"));
            }
        }
        if let Some(route) = self.live(Resource::VirtualServices, &self.names.virtual_service).cloned() {
            let owned = route.pointer("/metadata/managedFields").and_then(serde_json::Value::as_array);
            let ours = |entry: &&serde_json::Value| view::text(entry, "/manager") == "rollouts-controller";
            if owned.into_iter().flatten().any(|entry| ours(&entry)) {
                self.broken(Law::I16, "fields of the VirtualService are still owned".to_owned());
            }
            let marks = route.pointer("/metadata/annotations").and_then(serde_json::Value::as_object);
            if marks.into_iter().flatten().any(|(key, _)| key.starts_with("shed.serin.dev/")) {
                self.broken(Law::I16, "a mark is left on the VirtualService".to_owned());
            }
        }
    }

    /// The quiet time after the end: nobody writes.
    pub fn rested(&mut self, world: &World, requests: usize) {
        self.look(world);
        if requests > 0 {
            self.broken(Law::I9, format!("{requests} requests while everything is done"));
        }
    }

    fn unfinished(&self, world: &World, image: &str) -> Option<String> {
        let store = world.store();
        let object = |kind, name: &str| store.object(kind, &self.key.namespace, name);
        let rollout = object(Resource::Rollouts, &self.key.name)?;
        let wanted = view::text(rollout, "/spec/template/spec/containers/0/image");
        if wanted != image {
            return Some(format!("the Rollout asks for {wanted}"));
        }
        let read = Rollout::read(rollout);
        if read.phase != "Healthy" || !read.is_promoted() {
            let message = view::text(rollout, "/status/message");
            return Some(format!("{} at step {:?}: {message}", read.phase, read.index));
        }
        if read.abort {
            return Some("an abort is left on a rollout that is done".to_owned());
        }
        let split = object(Resource::VirtualServices, &self.names.virtual_service)
            .and_then(|route| Split::read(route, &self.names.canary, &self.names.stable));
        if split.is_none_or(|split| split.canary != 0) {
            return Some(format!("routes at {split:?}"));
        }
        for name in [&self.names.canary, &self.names.stable] {
            let selected = object(Resource::Services, name).and_then(|service| view::selected(service));
            if selected != Some(&read.stable) {
                return Some(format!("{name} selects {selected:?} instead of {}", read.stable));
            }
        }
        self.unfinished_pods(world, &read, image)
    }

    fn unfinished_pods(&self, world: &World, rollout: &Rollout, image: &str) -> Option<String> {
        let uid = world
            .store()
            .object(Resource::Rollouts, &self.key.namespace, &self.key.name)
            .map(|rollout| view::text(rollout, "/metadata/uid"))?;
        for (key, object) in world.store().objects(Resource::ReplicaSets) {
            let set = view::Set::read(object);
            if set.owner != uid {
                continue;
            }
            let wanted = if set.hash == rollout.stable { rollout.replicas } else { 0 };
            if set.replicas != wanted || set.available != wanted {
                return Some(format!(
                    "{} has {} of {wanted}, {} ready",
                    key.name, set.replicas, set.available
                ));
            }
            let runs = view::text(object, "/spec/template/spec/containers/0/image");
            if set.hash == rollout.stable && runs != image {
                return Some(format!("{} runs {runs}", key.name));
            }
        }
        for (key, object) in world.store().objects(Resource::AnalysisRuns) {
            let run = view::Run::read(object);
            if view::owner(object) == uid && run.is_going() {
                return Some(format!("AnalysisRun {} is {}", key.name, run.phase));
            }
        }
        None
    }
}
