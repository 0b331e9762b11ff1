# In the virtual machine, as root: the life of the package, while packets flow. Each line that begins with `ok` is something
# that was tried; the first that is not so ends the trial.
#
#  client 203.0.113.7 ── in4 203.0.113.1  [xlat]  2001:db8:fe::1 in6 ── 2001:db8:fe::2, 2001:db8:5e1:1::10 server

export DEBIAN_FRONTEND=noninteractive
old=$1 new=$2
SERVER=198.51.100.10

fail() {
	echo "failed: $*"
	systemctl status --no-pager --lines=0 xlat
	journalctl --no-pager --lines=40 --unit xlat
	ip -details link show | grep -E 'xdp|in[46]'
	exit 1
}
ok() { echo "ok $(cut -d. -f1 /proc/uptime) s: $*"; }
is() { [ "$2" = "$3" ] || fail "$1: $2, and not $3"; ok "$1: $2"; }
state() { systemctl is-active xlat; }
pid() { systemctl show --property MainPID --value xlat; }
answers() { ip netns exec client ping -n -q -c 3 -i 0.3 -W 5 $SERVER >/dev/null; }
translated() { answers || fail "no answer from $SERVER $1"; ok "packets are translated $1"; }
install() { apt-get install --quiet --quiet --yes --allow-downgrades "$1" >/tmp/apt 2>&1 || { cat /tmp/apt; fail "installing $1"; }; }

# Sends some 100 packets a second in the background; `counted` ends that, and none may be lost.
begin() { ip netns exec client ping -n -q -i 0.01 $SERVER >/tmp/load 2>&1 & load=$!; sleep 2; }
counted() {
	sleep 2
	kill -INT $load
	wait $load
	line=$(grep transmitted /tmp/load)
	sent=${line%% *} received=${line#*, }
	received=${received%% *}
	# The last one may be on its way when it ends.
	[ $((sent - received)) -le 1 ] && [ "$sent" -gt 100 ] || fail "$1: $line"
	ok "$1: $line"
}

# The network.
echo 1 >/proc/sys/net/ipv4/ip_forward
echo 1 >/proc/sys/net/ipv6/conf/all/forwarding
echo 0 >/proc/sys/net/ipv4/conf/all/rp_filter
echo 0 >/proc/sys/net/ipv4/conf/default/rp_filter
for side in "client in4" "server in6"; do
	set -- $side
	ip netns add "$1"
	ip link add "$2" type veth peer name eth0 netns "$1"
	ethtool -K "$2" gro on >/dev/null
	ip netns exec "$1" ethtool -K eth0 gro on tx off >/dev/null
	ip link set "$2" up
	ip -n "$1" link set eth0 up
	ip -n "$1" link set lo up
done
ip addr add 203.0.113.1/24 dev in4
ip addr add 2001:db8:fe::1/64 dev in6 nodad
ip route add 2001:db8:5e1::/48 via 2001:db8:fe::2
ip -n client addr add 203.0.113.7/24 dev eth0
ip -n client route add default via 203.0.113.1
ip -n server addr add 2001:db8:fe::2/64 dev eth0 nodad
ip -n server addr add 2001:db8:5e1:1::10/64 dev eth0 nodad
ip -n server route add default via 2001:db8:fe::1

# Install: nothing runs, and nothing will at the next boot, before it is configured.
install "$old"
is "the service after the installation" "$(state)" inactive
is "at the next boot" "$(systemctl is-enabled xlat)" disabled
is "the user" "$(id --name --user xlat):$(id --name --group xlat)" xlat:xlat
xlat-ctl check >/dev/null || fail "the configuration that is installed is not valid"

# Configure and start.
cat >/etc/xlat/xlat.toml <<'END'
[dataplane]
interfaces = ["in4", "in6"]
[translation]
prefixes = ["2001:db8:6464::/96"]
[[eam]]
ipv4 = "198.51.100.10"
ipv6 = "2001:db8:5e1:1::10"
END
# Where the processor is emulated the verifier takes its time, in which a reload answers no watchdog.
emulated=/etc/systemd/system/xlat.service.d/emulated.conf
mkdir -p "${emulated%/*}"
printf '[Service]\nTimeoutStartSec=600\nTimeoutStopSec=120\nTimeoutAbortSec=5\nWatchdogSec=600\n' >$emulated
systemctl daemon-reload
systemctl enable --now xlat 2>/dev/null || fail "systemctl enable --now xlat"
is "the service" "$(state)" active
xlat-ctl status >/dev/null || fail "xlat-ctl status: $(xlat-ctl status)"
translated "after the start"
is "the control socket" "$(stat --format '%A %U:%G' /run/xlat/xlat.sock)" "srw-rw---- xlat:xlat"
is "the pin directory" "$(stat --format '%A %U:%G' /sys/fs/bpf/xlat)" "drwx------ xlat:xlat"
is "the store" "$(stat --format '%A %U:%G' /var/lib/xlat)" "drwx------ xlat:xlat"
is "whom the daemon runs as" "$(stat --format '%U' /proc/"$(pid)")" xlat
journalctl --no-pager --unit xlat --priority warning --quiet | grep . && fail "the daemon warns"
exposure=$(systemd-analyze security --no-pager xlat | sed -n 's/.*Overall exposure level for xlat.service: \([0-9.]*\).*/\1/p')
awk "BEGIN { exit !(\"$exposure\" != \"\" && $exposure + 0 <= 2.0) }" || fail "systemd-analyze security: $exposure, which is above 2.0"
ok "systemd-analyze security: $exposure"

# Entries, reload, restart.
xlat-ctl eam add 198.51.100.11 2001:db8:5e1:1::11 >/dev/null || fail "eam add"
begin
systemctl reload xlat || fail "systemctl reload xlat"
counted "a reload"
begin
before=$(pid)
systemctl restart xlat || fail "systemctl restart xlat"
[ "$(pid)" != "$before" ] || fail "a restart: the same process"
counted "a restart"

# Upgrade and downgrade.
for package in "$new" "$old"; do
	version=$(dpkg-deb --field "$package" Version)
	begin
	before=$(pid)
	install "$package"
	is "the version" "$(dpkg-query --show --showformat '${Version}' xlat)" "$version"
	is "the service" "$(state)" active
	[ "$(pid)" != "$before" ] || fail "another version: the same process"
	counted "from one version to $version"
	grep -q 198.51.100.10 /etc/xlat/xlat.toml || fail "the configuration is another"
	xlat-ctl eam list | grep -q 198.51.100.11 || fail "the entry is gone"
done
ok "the configuration and the entries are as they were"

# Watchdog: a daemon that does not answer is killed and started again.
sed -i s/WatchdogSec=600/WatchdogSec=20/ $emulated
systemctl daemon-reload
systemctl restart xlat || fail "systemctl restart xlat with a shorter watchdog"
begin
before=$(pid)
kill -STOP "$before"
for second in $(seq 300); do sleep 1; [ "$(pid)" != "$before" ] && [ "$(state)" = active ] && break; done
[ "$(pid)" != "$before" ] && [ "$(state)" = active ] || fail "the watchdog did nothing"
counted "a daemon that hung was replaced after some $second s"

# Stop.
systemctl stop xlat
is "after systemctl stop" "$(state)" inactive
answers && fail "packets are translated after systemctl stop"
[ ! -e /sys/fs/bpf/xlat ] && [ ! -e /run/netns/xlat-fragmenter ] && ! ip link show xlat0 >/dev/null 2>&1 || fail "something is left"
ok "nothing is left of the data plane"
systemctl start xlat || fail "systemctl start xlat"
translated "after another start"

# Remove and purge.
apt-get remove --quiet --quiet --yes xlat >/tmp/apt 2>&1 || { cat /tmp/apt; fail "removing"; }
answers && fail "packets are translated after the removal"
[ -z "$(ip -details link show | grep prog/xdp)" ] && [ ! -e /sys/fs/bpf/xlat ] || fail "something is attached after the removal"
[ -e /etc/xlat/xlat.toml ] && [ -e /var/lib/xlat/eam.db ] || fail "the removal took configuration or entries"
ok "the removal leaves the configuration and the entries, and no program"
apt-get purge --quiet --quiet --yes xlat >/tmp/apt 2>&1 || { cat /tmp/apt; fail "purging"; }
[ ! -e /etc/xlat ] && [ ! -e /var/lib/xlat ] || fail "the purge left $(ls -d /etc/xlat /var/lib/xlat 2>/dev/null)"
ok "the purge leaves nothing"
