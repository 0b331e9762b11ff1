//! From the configuration to the settings that the XDP program is loaded with.

use xlat_common::settings::{
    self, Ipv4Range, Ipv6Range, Settings, TranslationPrefix, dscp, hairpin as hairpins, icmp_errors,
};

use super::{Config, Dscp, FlowLabel, Hairpin, IcmpErrors, Scope, UdpZeroChecksum};

fn dscp_mode(dscp: Dscp) -> (u32, u32) {
    match dscp {
        Dscp::Copy => (dscp::COPY, 0),
        Dscp::Fixed(value) => (dscp::FIXED, value.into()),
    }
}

impl From<&Config> for Settings {
    /// What the operator decides; the loader decides the rest (table size, hash seed, fragmenter, kernel features).
    fn from(config: &Config) -> Self {
        let Config { translation, icmp, .. } = config;
        let (traffic_class_mode, traffic_class) = dscp_mode(translation.traffic_class);
        let (tos_mode, tos) = dscp_mode(translation.tos);
        let mut settings = Self {
            lowest_ipv6_mtu: translation.lowest_ipv6_mtu,
            hairpin: match translation.hairpin {
                Hairpin::Off => hairpins::OFF,
                Hairpin::Simple => hairpins::SIMPLE,
                Hairpin::Intrinsic => hairpins::INTRINSIC,
            },
            udp_zero_checksum_compute: u32::from(translation.udp_zero_checksum == UdpZeroChecksum::Compute),
            traffic_class_mode,
            traffic_class,
            tos_mode,
            tos,
            flow_label_hash: u32::from(translation.flow_label == FlowLabel::Hash),
            scope_all: u32::from(translation.scope == Scope::All),
            strict: translation.strict.into(),
            icmp_errors: match icmp.errors {
                IcmpErrors::Off => icmp_errors::OFF,
                IcmpErrors::RateLimited => icmp_errors::RATE_LIMITED,
                IcmpErrors::On => icmp_errors::ON,
            },
            icmp_rate: icmp.rate,
            interface_info: icmp.interface_info.into(),
            ..Self::DEFAULT
        };
        for (place, prefix) in settings.prefixes.iter_mut().zip(&translation.prefixes) {
            let global_only = translation.well_known_prefix_strict && *prefix == super::well_known_prefix();
            *place = TranslationPrefix::new(prefix.network().into(), prefix.prefix_len().into(), global_only);
            settings.prefix_count += 1;
        }
        settings.plateaus = [0; settings::MAX_PLATEAUS];
        settings.plateau_count = 0;
        for (place, mtu) in settings.plateaus.iter_mut().zip(&translation.mtu_plateaus) {
            *place = *mtu;
            settings.plateau_count += 1;
        }
        for (place, net) in settings.ipv4_pool.iter_mut().zip(&icmp.ipv4_pool) {
            let count = 1 << (32 - net.prefix_len());
            *place = Ipv4Range { first: net.network().to_bits(), count };
            settings.ipv4_pool_count += 1;
            settings.ipv4_pool_size += count;
        }
        for (place, net) in settings.ipv6_pool.iter_mut().zip(&icmp.ipv6_pool) {
            let count = if net.prefix_len() > 96 { 1 << (128 - net.prefix_len()) } else { u32::MAX.into() };
            *place = Ipv6Range { first: net.network().into(), count };
            settings.ipv6_pool_count += 1;
        }
        settings
    }
}
