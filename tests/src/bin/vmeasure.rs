//! throw-away
use aya::{EbpfLoader, programs::Program};
use std::time::Instant;
use xlat_common::address::Ipv6;
use xlat_common::settings::{Ipv4Range, Ipv6Range, Settings, TranslationPrefix};
use xlat_tests::harness::Relay;

fn p(hi: u64, lo: u64, len: u32, g: u32) -> TranslationPrefix {
    TranslationPrefix { address: Ipv6 { hi, lo }, len, global_only: g }
}

fn config(name: &str) -> Settings {
    let mut s = Settings {
        bucket_mask: 131071,
        fragmenter_ifindex: 7,
        multi_buffer: 1,
        seed: 0x1234_5678_9abc_def1,
        ..Settings::DEFAULT
    };
    s.prefix_count = 1;
    s.prefixes[0] = p(0x2001_0db8_6464_0000, 0, 96, 0);
    s.ipv4_pool_count = 1;
    s.ipv4_pool_size = 1;
    s.ipv4_pool[0] = Ipv4Range { first: 0xcb007108, count: 1 };
    if name.contains("single") {
        s.multi_buffer = 0;
    }
    if name.contains("simple") {
        s.hairpin = 1;
    }
    if name.contains("many") {
        s.prefix_count = 7;
        let lens = [96, 64, 56, 48, 40, 32, 96];
        for i in 0..7 {
            s.prefixes[i] = p(0x2001_0db8_0000_0000 + ((i as u64) << 40), 0, lens[i], (i == 0) as u32);
        }
        s.udp_zero_checksum_compute = 1;
        s.flow_label_hash = 1;
        s.scope_all = 1;
        s.strict = 1;
        s.interface_info = 1;
        s.traffic_class_mode = 1;
        s.tos_mode = 1;
        s.plateau_count = 16;
        for i in 0..16 {
            s.plateaus[i] = 60000 - 3000 * i as u32;
        }
        s.ipv4_pool_count = 16;
        s.ipv4_pool_size = 16 * 7;
        for i in 0..16 {
            s.ipv4_pool[i] = Ipv4Range { first: 0xcb007108 + 256 * i as u32, count: 7 };
        }
        s.ipv6_pool_count = 16;
        for i in 0..16 {
            s.ipv6_pool[i] = Ipv6Range { first: Ipv6 { hi: 0x2001_0db8_7777_0000, lo: 0 }, count: 7 };
        }
    }
    s
}

fn load(object: &[u8], settings: &Settings, only: Option<&str>, quiet: bool) -> (u32, f64) {
    let buckets = settings.bucket_mask + 1;
    let mut ebpf = EbpfLoader::new()
        .override_global("SETTINGS", settings, true)
        .map_max_entries("TABLE4", buckets)
        .map_max_entries("TABLE6", buckets)
        .load(object)
        .unwrap();
    let mut total = 0;
    let mut time = 0.0;
    for (name, program) in ebpf.programs_mut() {
        if only.is_some_and(|o| o != name) {
            continue;
        }
        if let Program::Xdp(program) = program {
            let t = Instant::now();
            match program.load() {
                Ok(()) => {}
                Err(e) => {
                    println!("{name}: {e:?}");
                    continue;
                }
            }
            let ms = t.elapsed().as_secs_f64() * 1e3;
            let info = program.info().unwrap();
            let n = info.verified_instruction_count().unwrap();
            if !quiet {
                println!(
                    "{name:26} {n:8} {ms:8.1} ms  xlated {:?} jited {}",
                    info.size_translated(),
                    info.size_jitted()
                );
            }
            total += n;
            time += ms;
        }
    }
    if !quiet {
        println!("{:26} {total:8} {time:8.1} ms", "total");
    }
    (total, time)
}

fn main() {
    let args: Vec<String> = std::env::args().collect();
    match args[1].as_str() {
        "load" => {
            let object = std::fs::read(&args[2]).unwrap();
            let only = args.get(4).map(String::as_str);
            for c in args[3].split(',') {
                println!("-- {c}");
                load(&object, &config(c), only, false);
            }
        }
        "run" => run(),
        _ => panic!(),
    }
}

fn run() {
    let base = xlat_tests::harness::settings("");
    let mut relay = Relay::load(&base).unwrap();
    relay.enter().unwrap();
    let idx = |n: &str| nix::net::if_::if_nametoindex(n).unwrap();
    let (v4, v6) = (idx("v4"), idx("v6"));
    let mac = |n: u8, l: u8| [2u8, 0, 0, 0, n, l];
    let mut cases: Vec<(&str, u32, Vec<u8>)> = Vec::new();
    for (name, proto) in [("udp", 17u8), ("tcp", 6), ("icmp", 1)] {
        let mut f = Vec::new();
        f.extend(mac(4, 0xfe));
        f.extend(mac(4, 1));
        f.extend([8, 0]);
        let mut h = vec![0x45, 0, 0, 64, 0, 0, 0x40, 0, 255, proto, 0, 0, 203, 0, 113, 7, 198, 51, 100, 10];
        let mut sum: u32 = h.chunks(2).map(|c| u32::from(c[0]) << 8 | u32::from(c[1])).sum();
        while sum >> 16 != 0 {
            sum = (sum & 0xffff) + (sum >> 16);
        }
        let c = !(sum as u16);
        h[10] = (c >> 8) as u8;
        h[11] = c as u8;
        f.extend(&h);
        let mut body = vec![0u8; 44];
        for (i, b) in body.iter_mut().enumerate() {
            *b = i as u8 + 1;
        }
        if proto == 17 {
            body[4] = 0;
            body[5] = 44;
        }
        if proto == 1 {
            body[0] = 8;
            body[1] = 0;
        }
        f.extend(&body);
        cases.push((Box::leak(format!("{name} 4>6").into_boxed_str()), v4, f));
        let mut f = Vec::new();
        f.extend(mac(6, 0xfe));
        f.extend(mac(6, 1));
        f.extend([0x86, 0xdd]);
        f.extend([0x60, 0, 0, 0, 0, 44, if proto == 1 { 58 } else { proto }, 255]);
        f.extend([0x20, 1, 0xd, 0xb8, 5, 0xe1, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0x10]);
        f.extend([0x20, 1, 0xd, 0xb8, 0x64, 0x64, 0, 0, 0, 0, 0, 0, 203, 0, 113, 7]);
        if proto == 1 {
            body[0] = 128;
        }
        f.extend(&body);
        cases.push((Box::leak(format!("{name} 6>4").into_boxed_str()), v6, f));
    }
    // The entry program by its newest id.
    let mut best: Option<aya::programs::ProgramInfo> = None;
    for info in aya::programs::loaded_programs() {
        let info = info.unwrap();
        if info.name_as_str() == Some("xlat") && best.as_ref().is_none_or(|b| info.id() > b.id()) {
            best = Some(info);
        }
    }
    use std::os::fd::{AsFd, AsRawFd};
    let best = best.unwrap();
    let repeat: u32 = std::env::args().nth(3).and_then(|s| s.parse().ok()).unwrap_or(1);
    if repeat > 1 {
        for id in best.map_ids().unwrap().unwrap() {
            let info = aya::maps::loaded_maps().map(Result::unwrap).find(|m| m.id() == id).unwrap();
            if info.name_as_str() == Some("MACS") {
                let data = aya::maps::MapData::from_id(id).unwrap();
                let mut map: aya::maps::HashMap<_, [u8; 8], u8> = aya::maps::Map::HashMap(data).try_into().unwrap();
                for n in 0..20u8 {
                    for l in [1u8, 0xfe] {
                        map.insert([2, 0, 0, 0, n, l, 0, 0], 1, 0).unwrap();
                    }
                }
            }
        }
    }
    let fd = best.fd().unwrap();
    let fd = fd.as_fd().as_raw_fd();
    let runs: usize = std::env::args().nth(2).and_then(|s| s.parse().ok()).unwrap_or(20000);
    for (n, i, f) in &cases {
        let (a, out) = relay.dataplane().test_run(f, *i).unwrap();
        let ctx = [0, f.len() as u32, 0, *i, 0, 0u32];
        let mut outb = vec![0u8; f.len() + 512];
        let mut times = Vec::with_capacity(runs);
        for _ in 0..runs {
            #[repr(C)]
            struct Attr {
                fd: u32,
                retval: u32,
                in_sz: u32,
                out_sz: u32,
                din: u64,
                dout: u64,
                repeat: u32,
                dur: u32,
                cin: u32,
                cout: u32,
                pcin: u64,
                pcout: u64,
                flags: u32,
                cpu: u32,
                batch: u32,
                pad: u32,
            }
            let mut at = Attr {
                fd: fd as u32,
                retval: 0,
                in_sz: f.len() as u32,
                out_sz: outb.len() as u32,
                din: f.as_ptr() as u64,
                dout: outb.as_mut_ptr() as u64,
                repeat,
                dur: 0,
                cin: 24,
                cout: 0,
                pcin: ctx.as_ptr() as u64,
                pcout: 0,
                flags: 0,
                cpu: 0,
                batch: 0,
                pad: 0,
            };
            // SAFETY: test
            let r = unsafe { libc::syscall(libc::SYS_bpf, 10, &mut at as *mut Attr, size_of::<Attr>() - 4) };
            if r != 0 {
                panic!("{}", std::io::Error::last_os_error());
            }
            if repeat == 1 {
                assert_eq!(at.retval, a);
            } else {
                assert!(at.retval == 3 || at.retval == 4, "{}", at.retval);
            }
            times.push(at.dur);
        }
        times.sort_unstable();
        println!(
            "{n}: action {a} len {} median {} p10 {} min {}",
            out.len(),
            times[runs / 2],
            times[runs / 10],
            times[0]
        );
    }
}
