import { signal } from "@preact/signals";
import { render } from "preact";
import "uplot/dist/uPlot.min.css";
import "./styles/page.css";
import "./styles/panels.css";
import "./styles/operate.css";
import { App } from "./app.tsx";
import { Directory } from "./channels/directory.ts";
import { Api } from "./operate/api.ts";
import { Room } from "./chat/room.ts";
import { Heart } from "./ecg/heart.ts";
import { forcedTransport, fragmentToken, Link } from "./link/link.ts";
import { Host } from "./telemetry/host.ts";
import { Theme } from "./ui/theme.ts";

const theme = new Theme();
const forced = forcedTransport(window.location.search);
const link = new Link(document.baseURI, forced, fragmentToken(window.location.hash));
const heart = new Heart(link);
const host = new Host(link);
const room = new Room(link);
const directory = new Directory(link);
const operating = new URLSearchParams(window.location.search).get("view") === "operate";
const now = signal(Date.now());

if (!operating) {
  heart.follow();
  host.follow();
  room.follow();
  directory.follow();
}
setInterval(() => (now.value = Date.now()), 1000);

const root = document.getElementById("app");
if (root) {
  render(<App link={link} theme={theme} forced={forced} heart={heart} host={host} room={room} directory={directory} api={new Api()} operating={operating} now={now} />, root);
}
