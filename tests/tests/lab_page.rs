//! The status page on the metrics port: what it answers, and (`cargo xtask page`) what a browser makes of it.

use std::{
    fs,
    io::{Read as _, Write as _},
    net::TcpStream,
    path::Path,
    time::{Duration, Instant},
};

use serde_json::{Value, json};
use xlat_tests::lab::{Browser, Lab, Namespace, SERVER_SEEN};

const ADDRESS: &str = "127.0.0.1:9464";

fn curl(relay: &Namespace, arguments: &str, path: &str) -> String {
    relay.run(&format!("curl --silent --max-time 5 {arguments} http://{ADDRESS}{path}")).ok()
}

/// A connection that has asked for events, and the head of the answer.
fn listen(relay: &Namespace) -> (TcpStream, String) {
    relay.inside(|| {
        let mut stream = TcpStream::connect(ADDRESS).expect("a connection");
        stream.set_read_timeout(Some(Duration::from_secs(10))).expect("a socket");
        write!(stream, "GET /events HTTP/1.1\r\nHost: localhost\r\n\r\n").expect("a request");
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            stream.read_exact(&mut byte).expect("the head of an answer");
            head.push(byte[0]);
        }
        (stream, String::from_utf8(head).expect("text"))
    })
}

#[test]
fn the_page_can_only_look_and_loads_nothing_from_elsewhere() {
    let (lab, _daemon) = Lab::with_daemon().expect("a lab with a daemon");
    let answer = curl(&lab.relay, "--include", "/");
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    for header in [
        "content-security-policy: default-src 'none'; script-src 'sha256-",
        "x-content-type-options: nosniff",
        "content-type: text/html; charset=utf-8",
    ] {
        assert!(answer.contains(header), "`{header}` is missing:\n{answer}");
    }
    for elsewhere in ["http://", "https://", "src=", "url(", "@import", "<link rel=\"stylesheet"] {
        assert!(!answer.contains(elsewhere), "{elsewhere}");
    }
    for path in ["/", "/events", "/lookup?address=192.0.2.1", "/metrics", "/share.svg"] {
        let code = curl(&lab.relay, "--request POST --output /dev/null --write-out %{http_code}", path);
        assert_eq!(code, "405", "POST {path}");
    }
    // A page from elsewhere, whose name leads here.
    for path in ["/", "/events", "/lookup?address=192.0.2.1", "/metrics", "/none"] {
        let code =
            curl(&lab.relay, "--header Host:evil.example:9464 --output /dev/null --write-out %{http_code}", path);
        assert_eq!(code, "421", "{path} by another name");
    }
    let code = curl(&lab.relay, "--output /dev/null --write-out %{http_code}", "/share.svg");
    assert_eq!(code, "204", "there is no share where it is not counted");
    let found: Value = serde_json::from_str(&curl(&lab.relay, "", "/lookup?address=198.51.100.10")).expect("JSON");
    assert_eq!(found["result"], "2001:db8:5e1:1::10");
    let refused: Value = serde_json::from_str(&curl(&lab.relay, "", "/lookup?address=www")).expect("JSON");
    assert_eq!(refused["error"]["code"], "invalid");
}

#[test]
fn events_come_every_second_to_a_bounded_number_of_pages_that_delay_nobody() {
    let (lab, daemon) = Lab::with_daemon().expect("a lab with a daemon");
    let said = lab.relay.run(&format!("curl --silent --no-buffer --max-time 8 http://{ADDRESS}/events")).stdout;
    let events: Vec<Value> = said
        .lines()
        .filter_map(|line| line.strip_prefix("data: "))
        .map(|json| serde_json::from_str(json).expect("JSON"))
        .collect();
    assert!((2..=9).contains(&events.len()), "{} events in 8 seconds", events.len());
    // A stall of the machine may part two of them.
    let times: Vec<u64> = events.iter().filter_map(|event| event["stats"]["uptime_milliseconds"].as_u64()).collect();
    let apart = times.windows(2).map(|pair| pair[1].saturating_sub(pair[0]));
    assert!(apart.min().is_some_and(|apart| (500..1500).contains(&apart)), "{times:?}");
    assert_eq!(events[0]["status"]["state"], "attached");
    assert!(events[0]["not_ready"].is_null(), "{}", events[0]["not_ready"]);
    assert!(events[1]["stats"]["uptime_milliseconds"].as_u64() > events[0]["stats"]["uptime_milliseconds"].as_u64());

    // None of them reads what comes.
    let held: Vec<_> = (0..8).map(|_| listen(&lab.relay)).collect();
    assert!(held.iter().all(|(_, head)| head.starts_with("HTTP/1.1 200 ")));
    assert!(listen(&lab.relay).1.starts_with("HTTP/1.1 503 "), "a ninth page listens");
    let begin = Instant::now();
    assert!(curl(&lab.relay, "", "/metrics").contains("xlat_packets_total"));
    daemon.ctl(&lab.relay, "eam add 198.51.100.20 2001:db8:5e1:1::20").ok();
    assert!(begin.elapsed() < Duration::from_secs(3), "it took {:?}", begin.elapsed());
    drop(held);
    let begin = Instant::now();
    while !listen(&lab.relay).1.starts_with("HTTP/1.1 200 ") {
        assert!(begin.elapsed() < Duration::from_secs(10), "the places of pages that are gone stay taken");
        std::thread::sleep(Duration::from_millis(200));
    }
}

fn resize(browser: &mut Browser, width: u32, height: u32, mobile: bool, scheme: &str) {
    let size = json!({"width": width, "height": height, "deviceScaleFactor": 1, "mobile": mobile});
    browser.call("Emulation.setDeviceMetricsOverride", size).expect("a size");
    let media = json!({"features": [{"name": "prefers-color-scheme", "value": scheme}]});
    browser.call("Emulation.setEmulatedMedia", media).expect("a colour scheme");
}

/// Goes from the top of the page to the search by keyboard alone, and asks.
fn ask_by_keyboard(browser: &mut Browser, address: &str, expected: &str) {
    browser.evaluate("document.activeElement.blur()").expect("a page");
    let mut steps = 0;
    while browser.evaluate("document.activeElement.id").expect("an element") != "address" {
        steps += 1;
        // From where the focus was, once around.
        assert!(steps < 12, "the search cannot be reached by keyboard");
        browser.press("Tab").expect("a key");
    }
    browser.evaluate("document.activeElement.select()").expect("a field");
    browser.call("Input.insertText", json!({"text": address})).expect("text");
    browser.press("Enter").expect("a key");
    let answer = format!("document.getElementById('answer').textContent.includes({})", json!(expected));
    browser.wait_for(&answer).unwrap_or_else(|error| panic!("{address}: {error:#}"));
}

#[test]
#[ignore = "needs Chromium: `cargo xtask page`"]
fn a_browser_shows_the_relay_as_it_is() {
    let changes = [("[dataplane]", "[accounting]\nservices = true\nnative = true\n[dataplane]")];
    let (lab, mut daemon) = Lab::with_daemon_changed(&changes).expect("a lab with a daemon");
    let pictures = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/page");
    fs::create_dir_all(&pictures).expect("a directory for the pictures");
    let log = daemon.directory().join("traffic");
    let _ping = lab.client.start("ping", &["-n", "-q", "-i", "0.01", SERVER_SEEN], &log).expect("ping");
    // Their hop limit ends at the relay.
    let _short = lab.client.start("ping", &["-n", "-q", "-i", "0.2", "-t", "2", SERVER_SEEN], &log).expect("ping");

    let mut browser = Browser::start(&lab.relay).expect("a browser");
    resize(&mut browser, 1100, 900, false, "light");
    browser.call("Page.navigate", json!({"url": format!("http://{ADDRESS}/")})).expect("the page");
    let text = |id: &str| format!("document.getElementById('{id}').innerText");
    let wait_for = |browser: &mut Browser, id: &str, part: &str| {
        browser.wait_for(&format!("{}.includes({})", text(id), json!(part))).expect("the page shows it");
    };
    wait_for(&mut browser, "state", "attached");
    wait_for(&mut browser, "ready", "ready");
    wait_for(&mut browser, "interfaces", "inet4\tattached\tnative");
    wait_for(&mut browser, "drops", "TTL or hop limit was used up at this relay.");
    browser.wait_for(&format!("parseFloat({}) > 20", text("four_to_six"))).expect("a rate");
    browser.wait_for(&format!("parseFloat({}) > 20", text("six_to_four"))).expect("a rate");
    wait_for(&mut browser, "table", "2 of 65536");
    browser.wait_for("document.getElementById('share_picture').naturalWidth > 0").expect("the share of IPv6");
    // Some seconds more for the chart.
    browser.wait_for("past.four_to_six.length >= 20").expect("a history");

    wait_for(&mut browser, "share_service", "All services");
    ask_by_keyboard(&mut browser, "198.51.100.10", "2001:db8:5e1:1::10");
    wait_for(&mut browser, "share_service", "198.51.100.10/32 ↔ 2001:db8:5e1:1::10/128");
    browser.screenshot(&pictures.join("light.png")).expect("a picture");
    let back = "getComputedStyle(document.body).backgroundColor";
    let light = browser.evaluate(back).expect("a colour");
    resize(&mut browser, 1100, 900, false, "dark");
    assert_ne!(browser.evaluate(back).expect("a colour"), light, "dark looks like light");
    browser.screenshot(&pictures.join("dark.png")).expect("a picture");
    ask_by_keyboard(&mut browser, "www.example.com", "this is not an IPv4 or IPv6 address");

    resize(&mut browser, 360, 740, true, "light");
    browser.wait_for("document.documentElement.scrollWidth <= 360").expect("a page as wide as the phone");
    browser.screenshot(&pictures.join("phone.png")).expect("a picture");
    // A refused look-up is an answer that the browser's log counts as an error.
    let faults: Vec<_> = browser.faults().iter().filter(|fault| !fault.contains("/lookup?address=www")).collect();
    assert!(faults.is_empty(), "{faults:?}");

    let inject = "(() => { const made = document.createElement('script'); made.textContent = 'window.injected = true'; \
                  document.body.append(made); return window.injected === undefined; })()";
    assert_eq!(browser.evaluate(inject).expect("a page"), true, "the policy lets other scripts run");

    // As if another tab had been in front for a minute: the relay has places for few.
    let hide = |hidden: bool| {
        format!(
            "Object.defineProperty(document, 'hidden', {{configurable: true, get: () => {hidden}}}); stay_while_seen(); leaving > 0"
        )
    };
    assert_eq!(browser.evaluate(&hide(true)).expect("a page"), true, "it will leave");
    let left = "clearTimeout(leaving); leave(); events === null && past.four_to_six.length === 0";
    assert_eq!(browser.evaluate(left).expect("a page"), true);
    browser.evaluate(&hide(false)).expect("a page");
    browser.wait_for("past.four_to_six.length >= 2").expect("it listens again");
    daemon.stop().expect("a clean end");
    wait_for(&mut browser, "state", "no connection");
}
