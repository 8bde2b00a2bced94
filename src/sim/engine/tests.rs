use serde_json::json;

use super::*;

const ROLLOUT: &str = "apiVersion: argoproj.io/v1alpha1\nkind: Rollout\nmetadata:\n  name: myapp\nspec:\n  \
                       replicas: 3\n  template: {spec: {containers: [{name: app, image: 'app:v1'}]}}\n";
const SERVICE: &str = "apiVersion: v1\nkind: Service\nmetadata: {name: myapp}\nspec: {ports: [{port: 80}]}\n";
const ROUTES: &str = "apiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {name: myapp}\n\
                      spec: {http: [{route: [{destination: {host: myapp}, weight: 100}]}]}\n";

struct Lab {
    folder: tempfile::TempDir,
    world: World,
    engine: Engine,
}

fn start() -> Timestamp {
    "2026-01-01T00:00:00Z".parse().unwrap()
}

fn person(at: Timestamp) -> Author<'static> {
    Author { name: "A Person", email: "person@example.org", at }
}

impl Lab {
    fn new(files: &[(&str, &str)], configure: impl FnOnce(&mut Config)) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let repository = folder.path().join("repo.git");
        seed(&repository, files, person(start())).unwrap();
        let mut config = Config::new(repository);
        configure(&mut config);
        Self { folder, world: World::new(start()), engine: Engine::new(config, start()) }
    }

    /// Lets the engine look at so many seconds after the start.
    fn at(&mut self, second: i64) {
        self.world.advance(start() + SignedDuration::from_secs(second));
        self.engine.run_in(&mut self.world);
    }

    fn commit(&self, files: &[(&str, &str)]) -> Oid {
        commit(&self.folder.path().join("repo.git"), files, "Change", person(start())).unwrap()
    }

    fn get(&self, resource: Resource) -> Value {
        self.world.store().object(resource, "default", "myapp").map(|o| (**o).clone()).unwrap_or_default()
    }

    fn patch(&mut self, path: &str, body: Value) {
        let request =
            Request { method: Method::Patch, path: path.into(), query: vec![], body: Body::Merge(body) };
        let Answer::Response(response) = self.world.handle(&request, "somebody") else { panic!() };
        assert!(response.is_success(), "{}", response.message());
    }
}

const ROLLOUT_PATH: &str = "/apis/argoproj.io/v1alpha1/namespaces/default/rollouts/myapp";
const ROUTES_PATH: &str = "/apis/networking.istio.io/v1/namespaces/default/virtualservices/myapp";

fn everything() -> [(&'static str, String); 2] {
    [("apps/all.yaml", format!("{ROLLOUT}---\n{ROUTES}---\n# nothing\n")), ("svc.yml", SERVICE.into())]
}

fn lab(configure: impl FnOnce(&mut Config)) -> Lab {
    let files = everything();
    let files: Vec<_> = files.iter().map(|(path, text)| (*path, text.as_str())).collect();
    Lab::new(&files, configure)
}

#[test]
fn the_tip_is_applied_when_it_is_due_and_only_when_it_changed() {
    let mut lab = lab(|_| ());
    lab.at(0);
    assert_eq!(lab.get(Resource::Rollouts)["spec"]["replicas"], 3);
    assert_eq!(lab.get(Resource::Services)["spec"]["ports"][0]["port"], 80);
    assert_eq!(lab.get(Resource::VirtualServices)["spec"]["http"][0]["route"][0]["weight"], 100);
    let requests = lab.world.log().len();
    lab.at(5);
    assert_eq!(lab.world.log().len(), requests);
    let commit = lab.commit(&[("apps/all.yaml", &ROLLOUT.replace("app:v1", "app:v2"))]);
    lab.at(9);
    assert_eq!(lab.engine.applied().len(), 1);
    lab.at(10);
    assert_eq!(lab.get(Resource::Rollouts)["spec"]["template"]["spec"]["containers"][0]["image"], "app:v2");
    let applied = Applied { at: start() + SignedDuration::from_secs(10), commit };
    assert_eq!(lab.engine.applied().last(), Some(&applied));
    assert!(lab.engine.failures().is_empty());
}

#[test]
fn rollouts_are_applied_after_what_they_refer_to() {
    let mut lab = lab(|_| ());
    lab.at(0);
    let writes: Vec<_> = lab
        .world
        .log()
        .filter(|request| request.method == Method::Patch)
        .map(|request| request.path.rsplit('/').nth(1).unwrap().to_owned())
        .collect();
    assert_eq!(writes, ["virtualservices", "services", "rollouts"]);
}

#[test]
fn differences_are_healed_only_when_asked_and_weights_only_when_kept() {
    for (self_heal, with_virtual_service) in [(false, false), (true, false), (true, true)] {
        let mut lab = lab(|config| {
            config.self_heal = self_heal;
            config.with_virtual_service = with_virtual_service;
        });
        lab.at(0);
        lab.patch(ROLLOUT_PATH, json!({"spec": {"replicas": 9}}));
        let routes =
            json!({"spec": {"http": [{"route": [{"destination": {"host": "myapp"}, "weight": 40}]}]}});
        lab.patch(ROUTES_PATH, routes);
        lab.at(5);
        let replicas = lab.get(Resource::Rollouts)["spec"]["replicas"].clone();
        assert_eq!(replicas, if self_heal { 3 } else { 9 });
        let weight = lab.get(Resource::VirtualServices)["spec"]["http"][0]["route"][0]["weight"].clone();
        assert_eq!(weight, if with_virtual_service { 100 } else { 40 });
        assert_eq!(lab.engine.applied().len(), 1, "healing is not a new commit");
    }
}

#[test]
fn a_file_that_cannot_be_read_or_applied_is_tried_again() {
    let mut lab = Lab::new(&[("a.yaml", "a: [b\n")], |_| ());
    lab.at(0);
    assert!(lab.engine.applied().is_empty());
    assert!(lab.engine.failures()[0].1.starts_with("a.yaml: "));
    lab.commit(&[("a.yaml", "apiVersion: nobody/v1\nkind: Thing\nmetadata: {name: a}\n")]);
    lab.at(5);
    assert!(lab.engine.failures()[1].1.contains("no kind `Thing`"));
    lab.commit(&[("a.yaml", SERVICE)]);
    lab.at(10);
    assert_eq!(lab.engine.applied().len(), 1);
}

#[test]
fn only_the_files_of_its_directory_are_applied() {
    let mut lab = lab(|config| config.directory = "apps".into());
    lab.at(0);
    assert_ne!(lab.get(Resource::Rollouts), Value::Null);
    assert_eq!(lab.get(Resource::Services), Value::Null);
}

#[test]
fn the_history_tells_who_changed_what() {
    let lab = lab(|_| ());
    lab.commit(&[("svc.yml", &SERVICE.replace("80", "81"))]);
    let history = history(&lab.folder.path().join("repo.git")).unwrap();
    assert_eq!(history.len(), 2);
    assert_eq!((history[0].author.as_str(), history[0].message.as_str()), ("A Person", "Change"));
    assert!(history[0].patch.contains("-spec: {ports: [{port: 80}]}\n+spec: {ports: [{port: 81}]}\n"));
}
