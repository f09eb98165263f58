//! A server by itself, for tests: its folder has `plan`, `bundle`, `tokens`, `cert.pem` and `key.pem`, and is the first
//! argument; the port is the second. Its symbols show which code a server reaches.

use pleura::Device;
use pleura::nn::ServerPlan;
use pleura::remote::ClientBundle;
use pleura_service::server::{Limits, Options, ServerDevice, Service, Stop, Tls};
use std::error::Error;
use std::fs;
use std::net::TcpListener;
use std::path::PathBuf;
use std::time::Duration;

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let folder = PathBuf::from(arguments.next().ok_or("no folder")?);
    let port = arguments.next().ok_or("no port")?.parse::<u16>()?;
    let plan = ServerPlan::from_bytes(&fs::read(folder.join("plan"))?)?;
    let bundle = ClientBundle::from_bytes(&fs::read(folder.join("bundle"))?)?;
    let limits = Limits { idle: Duration::from_secs(1), ..Limits::default() };
    let options = Options { folder: folder.join("store"), tokens: folder.join("tokens"), limits };
    let device = ServerDevice { device: Device::cpu(None), session_bytes: 2 << 30 };
    let service = Service::new(vec![(plan, bundle)], &[device], &options)?;
    let tls = Tls::from_pem(&fs::read(folder.join("cert.pem"))?, &fs::read(folder.join("key.pem"))?)?;
    Ok(service.serve(TcpListener::bind(("127.0.0.1", port))?, &tls, &Stop::new())?)
}
