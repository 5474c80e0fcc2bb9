//! Making the directories and configuration files of the brokers.

use std::{
    fmt::Write as _,
    fs, io,
    net::{Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    time::Duration,
};

use nix::sys::signal::Signal;

use super::{
    KafkaOptions,
    installation::{Installation, JAVA},
    session,
};
use crate::{
    Proxy, TopologyError,
    plan::{Plan, Port},
    ports,
    server::Server,
    site::{Rights, Site},
};

/// What every broker is set to unless the options say otherwise.
const SETTINGS: &[(&str, &str)] = &[
    ("process.roles", "broker,controller"),
    ("controller.listener.names", "CONTROLLER"),
    ("inter.broker.listener.name", "REPLICATION"),
    (
        "listener.security.protocol.map",
        "CLIENT:PLAINTEXT,LINK:PLAINTEXT,REPLICATION:PLAINTEXT,CONTROLLER:PLAINTEXT",
    ),
    ("auto.create.topics.enable", "false"),
    // Leaders move only when a test moves them.
    ("auto.leader.rebalance.enable", "false"),
    ("broker.heartbeat.interval.ms", "500"),
    ("broker.session.timeout.ms", "3000"),
    ("replica.lag.time.max.ms", "1500"),
    ("replica.fetch.wait.max.ms", "200"),
    ("group.initial.rebalance.delay.ms", "0"),
    ("group.min.session.timeout.ms", "1000"),
    ("offsets.topic.num.partitions", "4"),
    ("transaction.state.log.num.partitions", "4"),
    ("num.network.threads", "2"),
    ("num.io.threads", "4"),
    ("log.cleaner.dedupe.buffer.size", "8388608"),
];

/// How long a broker may take to start: three Java programs on a busy machine need longer than other
/// stores' servers.
const STARTING: Duration = Duration::from_secs(90);

/// Where one broker is reached.
#[derive(Debug)]
pub(super) struct Ports {
    client: u16,
    link: u16,
    replication: u16,
    controller: u16,
}

/// One broker's place in the cluster.
#[derive(Debug)]
pub(super) struct Place {
    pub(super) index: usize,
    pub(super) ports: Ports,
    /// Where the clients that use the link are sent to.
    pub(super) link: Proxy,
    /// Where the other brokers are sent to.
    pub(super) replication: Proxy,
}

/// Where the brokers of one topology run.
#[derive(Debug)]
pub(super) struct Setup {
    site: Site,
    installation: Installation,
    cluster: String,
}

impl Setup {
    pub(super) fn new() -> Result<Self, TopologyError> {
        let installation = Installation::find()?;
        let site = Site::native("kafka", installation.programs(), Rights::Own)?;
        let cluster = cluster_id(&site);
        Ok(Self { site, installation, cluster })
    }

    /// Every broker's ports: all must be known before the first one starts.
    pub(super) async fn places(&self, brokers: usize) -> Result<Vec<Place>, TopologyError> {
        let mut places = Vec::new();
        for (index, ports) in
            free(brokers).map_err(TopologyError::system("kafka", "find free ports"))?.into_iter().enumerate()
        {
            let link = Proxy::start(loopback(ports.link)).await?;
            let replication = Proxy::start(loopback(ports.replication)).await?;
            places.push(Place { index, ports, link, replication });
        }
        Ok(places)
    }

    /// Formats a broker's storage and starts it; it answers once most of them are started.
    pub(super) async fn broker(
        &self,
        place: &Place,
        all: &[Place],
        options: &KafkaOptions,
    ) -> Result<Server, TopologyError> {
        let name = format!("kafka broker-{}", place.index);
        let directory = self.site.path().join(format!("broker-{}", place.index));
        let configuration = write(&directory, &settings(&directory, place, all, options))
            .map_err(TopologyError::system(&name, "write server.properties"))?;

        let mut format = self.installation.arguments("kafka.tools.StorageTool");
        format.extend(["format", "--cluster-id", &self.cluster, "--config"].map(Into::into));
        format.push(configuration.clone().into());
        self.site.run(&name, JAVA, format).await?;

        let mut arguments = self.installation.arguments("kafka.Kafka");
        arguments.push(configuration.into());
        let plan = Plan {
            name,
            program: self.site.program(JAVA),
            arguments,
            port: Port::Configured(place.ports.client),
            directory,
            account: self.site.account(),
            starting: STARTING,
            stopping: Signal::SIGTERM,
            // In good order it would first look for other brokers to hand its partitions to.
            ending: Signal::SIGKILL,
            probe: session::probe,
        };
        self.site.launch(plan).await
    }
}

/// The broker id of a broker: they are counted from 1, as 0 looks like no id in some messages.
pub(super) fn id_of(index: usize) -> i32 {
    i32::try_from(index).map_or(i32::MAX, |index| index.saturating_add(1))
}

fn settings(directory: &Path, place: &Place, all: &[Place], options: &KafkaOptions) -> String {
    let Ports { client, link, replication, controller } = place.ports;
    let voters: Vec<String> = all
        .iter()
        .map(|voter| format!("{}@127.0.0.1:{}", id_of(voter.index), voter.ports.controller))
        .collect();
    let copies = all.len().min(3).to_string();
    let own = [
        ("node.id", id_of(place.index).to_string()),
        ("log.dirs", directory.join("data").display().to_string()),
        ("controller.quorum.voters", voters.join(",")),
        (
            "listeners",
            listeners(&[
                ("CLIENT", client),
                ("LINK", link),
                ("REPLICATION", replication),
                ("CONTROLLER", controller),
            ]),
        ),
        (
            "advertised.listeners",
            listeners(&[
                ("CLIENT", client),
                ("LINK", place.link.addr().port()),
                ("REPLICATION", place.replication.addr().port()),
            ]),
        ),
        ("offsets.topic.replication.factor", copies.clone()),
        ("transaction.state.log.replication.factor", copies),
        ("transaction.state.log.min.isr", "1".to_owned()),
    ];
    let own = own.iter().map(|(name, value)| (*name, value.as_str()));
    let chosen = options.settings.iter().map(|(name, value)| (name.as_str(), value.as_str()));
    let mut text = String::new();
    for (name, value) in SETTINGS.iter().copied().chain(own).chain(chosen) {
        let _ = writeln!(text, "{name}={value}");
    }
    text
}

fn listeners(ports: &[(&str, u16)]) -> String {
    let listeners: Vec<String> =
        ports.iter().map(|(name, port)| format!("{name}://127.0.0.1:{port}")).collect();
    listeners.join(",")
}

fn write(directory: &Path, settings: &str) -> io::Result<PathBuf> {
    fs::create_dir_all(directory)?;
    let path = directory.join("server.properties");
    fs::write(&path, settings)?;
    Ok(path)
}

/// Free ports, all different: they are held until all are found.
fn free(brokers: usize) -> io::Result<Vec<Ports>> {
    let mut held = Vec::new();
    let mut port = || {
        let listener = ports::hold()?;
        let port = listener.local_addr()?.port();
        held.push(listener);
        io::Result::Ok(port)
    };
    let ports = (0..brokers)
        .map(|_| Ok(Ports { client: port()?, link: port()?, replication: port()?, controller: port()? }));
    ports.collect()
}

fn loopback(port: u16) -> SocketAddr {
    (Ipv4Addr::LOCALHOST, port).into()
}

/// One of its own for each topology, so that no broker is taken for another's: made of the name of
/// its directory, in the form of 16 bytes in base64.
fn cluster_id(site: &Site) -> String {
    let name = site.path().file_name().unwrap_or_default().to_string_lossy();
    format!("{name:-<21.21}A")
}
