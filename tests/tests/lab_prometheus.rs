//! What `contrib/` has for Prometheus and Grafana, against a real Prometheus that scrapes a real relay with traffic.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use serde_json::Value;
use xlat_tests::lab::{Lab, Namespace, Running, SERVER_SEEN, is_within};

const SCRAPE: &str = "scrape_interval: 1s, evaluation_interval: 1s";
/// Until there is what has to come.
const PATIENCE: Duration = Duration::from_secs(40);

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// A Prometheus on the relay with the rules of `contrib/`.
struct Prometheus<'lab> {
    relay: &'lab Namespace,
    _server: Running,
    directory: tempfile::TempDir,
}

impl<'lab> Prometheus<'lab> {
    fn start(relay: &'lab Namespace) -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let rules = root().join("contrib/prometheus/xlat.rules.yml").canonicalize().expect("the rules");
        let text = format!(
            "global: {{{SCRAPE}}}\nrule_files: [{}]\nscrape_configs:\n  - job_name: xlat\n    static_configs: [{{targets: \
             ['127.0.0.1:9464']}}]\n",
            rules.display()
        );
        let path = |name: &str| directory.path().join(name).display().to_string();
        fs::write(path("prometheus.yml"), text).expect("the configuration");
        let arguments = [
            format!("--config.file={}", path("prometheus.yml")),
            format!("--storage.tsdb.path={}", path("data")),
            "--web.listen-address=127.0.0.1:9090".to_owned(),
        ];
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        let server = relay.start("prometheus", &arguments, Path::new(&path("log"))).expect("nsenter");
        Self { relay, _server: server, directory }
    }

    /// What a call answers; `None`: it does not answer.
    fn call(&self, path: &str, query: &[(&str, &str)]) -> Option<Value> {
        let url = format!("http://127.0.0.1:9090{path}");
        let mut arguments =
            vec!["--silent".to_owned(), "--max-time".to_owned(), "5".to_owned(), "--get".to_owned(), url];
        for (key, value) in query {
            arguments.extend(["--data-urlencode".to_owned(), format!("{key}={value}")]);
        }
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        let output = self.relay.command("curl", &arguments).output().expect("curl");
        serde_json::from_slice(&output.stdout).ok()
    }

    /// How many series an expression gives; `None`: there is no answer.
    ///
    /// # Panics
    /// It is not an expression.
    fn series(&self, expression: &str) -> Option<usize> {
        let answer = self.call("/api/v1/query", &[("query", expression)])?;
        assert_eq!(answer["status"], "success", "{expression}: {answer}");
        answer["data"]["result"].as_array().map(Vec::len)
    }

    /// How many values a variable of the dashboard can have, `label_values(SERIES, LABEL)`, which Grafana asks for so.
    fn choices(&self, definition: &str) -> usize {
        let inside = definition.strip_prefix("label_values(").and_then(|text| text.strip_suffix(')'));
        let (series, label) = inside.and_then(|text| text.rsplit_once(", ")).expect("label_values(SERIES, LABEL)");
        let answer = self.call(&format!("/api/v1/label/{label}/values"), &[("match[]", series)]).unwrap_or_default();
        answer["data"].as_array().map_or(0, Vec::len)
    }

    /// Waits until an expression gives something.
    fn wait_for(&self, expression: &str) {
        let log = || fs::read_to_string(self.directory.path().join("log")).unwrap_or_default();
        let is_something = || self.series(expression).is_some_and(|series| series > 0);
        assert!(is_within(PATIENCE, is_something), "`{expression}` gives nothing:\n{}", log());
    }

    /// The rules as the server has read them.
    fn rules(&self) -> Vec<Value> {
        let answer = self.call("/api/v1/rules", &[]).expect("an answer");
        let groups = answer["data"]["groups"].as_array().expect("groups").clone();
        groups.iter().flat_map(|group| group["rules"].as_array().expect("rules").clone()).collect()
    }
}

/// The parts of an alert's condition, each without what it is compared with: what has to give data in a healthy relay too.
fn compared(condition: &str) -> Vec<String> {
    let sides = condition.split(" and on (job, instance) ");
    let without = |side: &str| {
        let end = [" == ", " > ", " < "].iter().filter_map(|operator| side.rfind(operator)).max();
        side[..end.expect("a comparison")].to_owned()
    };
    sides.map(without).collect()
}

/// Every text of the dashboard that stands under a key, with its variables filled in as Grafana does.
fn dashboard(key: &str) -> Vec<String> {
    fn walk(value: &Value, key: &str, found: &mut Vec<String>) {
        match value {
            Value::Object(map) => {
                found.extend(map.get(key).and_then(Value::as_str).map(str::to_owned));
                map.values().for_each(|value| walk(value, key, found));
            }
            Value::Array(list) => list.iter().for_each(|value| walk(value, key, found)),
            _ => (),
        }
    }
    let text = fs::read_to_string(root().join("contrib/grafana/xlat.json")).expect("the dashboard");
    let mut found = Vec::new();
    walk(&serde_json::from_str(&text).expect("JSON"), key, &mut found);
    let filled = |text: &String| {
        let filled = text.replace("$job", "xlat").replace("$instance", ".+").replace("$__rate_interval", "10s");
        assert!(!filled.contains('$'), "a variable that is not known: {filled}");
        filled
    };
    found.iter().map(filled).collect()
}

#[test]
fn every_query_gives_data_and_a_healthy_relay_raises_no_alert() {
    let everything = [("[dataplane]", "[accounting]\nservices = true\nnative = true\n[dataplane]")];
    let (lab, _daemon) = Lab::with_daemon_changed(&everything).expect("a lab with a daemon");
    let prometheus = Prometheus::start(&lab.relay);
    let log = prometheus.directory.path().join("ping");
    let _traffic = lab.client.start("ping", &["-n", "-q", "-i", "0.05", SERVER_SEEN], &log).expect("ping");
    prometheus.wait_for(r#"instance_direction:xlat_translated_packets:rate5m{direction="six_to_four"} > 1"#);
    // The last rule of the first group has been evaluated then too.
    prometheus.wait_for("instance:xlat_native_packets:ratio5m");
    // They are found every ten seconds.
    prometheus.wait_for("rate(xlat_eam_bytes_total[10s])");

    let rules = prometheus.rules();
    assert!(rules.len() >= 15, "{rules:?}");
    for rule in &rules {
        assert_eq!(rule["health"], "ok", "{rule}");
        let query = rule["query"].as_str().expect("an expression");
        let parts = if rule["type"] == "alerting" { compared(query) } else { vec![query.to_owned()] };
        parts.iter().for_each(|part| prometheus.wait_for(part));
    }
    let expressions = dashboard("expr");
    assert!(expressions.len() >= 15, "{expressions:?}");
    for expression in &expressions {
        // The starts of the daemon: there are none while nothing restarts.
        let expression = expression.strip_suffix(" > 0").unwrap_or(expression);
        prometheus.wait_for(expression);
    }
    let choices = dashboard("definition");
    assert!(choices.len() >= 2, "{choices:?}");
    for choice in &choices {
        let is_choice = || prometheus.choices(choice) > 0;
        assert!(is_within(PATIENCE, is_choice), "the dashboard: `{choice}` gives nothing to choose from");
    }
    // One that waits for its time may do so after a reading that came late.
    let is_quiet = || prometheus.series("ALERTS") == Some(0);
    assert!(is_within(PATIENCE, is_quiet), "{:?}", prometheus.call("/api/v1/alerts", &[]));
    assert_eq!(
        prometheus.series("max_over_time(ALERTS{alertstate=\"firing\"}[5m])"),
        Some(0),
        "one was raised, and ended"
    );
}

#[test]
fn promtool_takes_the_rules_and_they_do_what_they_should() {
    let directory = root().join("contrib/prometheus");
    for arguments in [["check", "rules", "xlat.rules.yml"], ["test", "rules", "xlat.rules.test.yml"]] {
        let output = Command::new("promtool").args(arguments).current_dir(&directory).output();
        let output = output.unwrap_or_else(|error| panic!("promtool: {error} (`cargo xtask setup` installs it)"));
        let said = [output.stdout, output.stderr].map(|text| String::from_utf8_lossy(&text).into_owned()).concat();
        assert!(output.status.success(), "{arguments:?}:\n{said}");
    }
}

#[test]
fn every_alert_has_a_test_and_a_page_that_says_what_to_do() {
    let read = |path: &str| fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"));
    let rules = read("contrib/prometheus/xlat.rules.yml");
    let after = |prefix: &'static str| rules.lines().filter_map(move |line| line.trim().strip_prefix(prefix));
    let alerts: BTreeSet<&str> = after("- alert: ").collect();
    let links: BTreeSet<&str> = after("runbook_url: file:///usr/share/doc/xlat/docs/alerts.md#").collect();
    assert!(alerts.len() >= 9, "{alerts:?}");
    assert_eq!(
        links,
        alerts.iter().map(|name| name.to_lowercase()).collect::<Vec<_>>().iter().map(String::as_str).collect()
    );
    let (page, tests) = (read("docs/alerts.md"), read("contrib/prometheus/xlat.rules.test.yml"));
    let headings: BTreeSet<&str> = page.lines().filter_map(|line| line.strip_prefix("### ")).collect();
    assert_eq!(headings, alerts, "docs/alerts.md has a heading for each alert");
    assert_eq!(after("description: ").count(), alerts.len(), "each alert has a description");
    for alert in alerts {
        let raised = format!("alertname: {alert}\n        exp_alerts:\n");
        assert!(tests.contains(&raised), "no test of the rules raises {alert}");
    }
}
