import type { Signal } from "@preact/signals";
import type { Directory } from "./channels/directory.ts";
import { ChannelsPanel } from "./channels/panel.tsx";
import { ChatPanel } from "./chat/panel.tsx";
import { chatChannel, type Room } from "./chat/room.ts";
import { ecgChannel, rateChannel, type Heart } from "./ecg/heart.ts";
import { EcgPanel } from "./ecg/panel.tsx";
import type { Link, Transport } from "./link/link.ts";
import { OutageLog } from "./strip/outage-log.tsx";
import { Strip } from "./strip/strip.tsx";
import type { Api } from "./operate/api.ts";
import { Operate } from "./operate/view.tsx";
import { telemetryChannel, type Host } from "./telemetry/host.ts";
import { TelemetryPanel } from "./telemetry/panel.tsx";
import type { Theme } from "./ui/theme.ts";

/** Everything the page shows. */
export interface AppProps {
  readonly link: Link;
  readonly theme: Theme;
  readonly forced: Transport | null;
  readonly heart: Heart;
  readonly host: Host;
  readonly room: Room;
  readonly directory: Directory;
  readonly api: Api;
  /** Whether the operators' view is shown instead of what the server does. */
  readonly operating: boolean;
  /** Ticks once a second, with the time in Unix milliseconds. */
  readonly now: Signal<number>;
}

/** The whole page. */
export function App({ link, theme, forced, heart, host, room, directory, api, operating, now }: AppProps) {
  return (
    <>
      <Strip link={link} theme={theme} forced={forced} operating={operating} now={now} />
      {operating ? <Operate api={api} /> : <Live link={link} theme={theme} heart={heart} host={host} room={room} directory={directory} now={now} />}
      <footer>
        <span>Everything here is a channel of one server, and this page an ordinary client.</span>
        <span>ECG: MIT-BIH Arrhythmia Database, record 208, PhysioNet, ODC-By 1.0</span>
        <a href="./licenses.md">Licenses</a>
      </footer>
    </>
  );
}

/** The server's code for a channel of no namespace. */
const unknownChannel = 102;

/** What the server does, live. One that has nothing of the demo shows its channels alone. */
function Live({ link, theme, heart, host, room, directory, now }: Omit<AppProps, "api" | "forced" | "operating">) {
  const demo = [ecgChannel, telemetryChannel, chatChannel].map((channel) => link.feed(channel).state.value);
  if (demo.every(({ name, code }) => name === "refused" && code === unknownChannel)) {
    return (
      <main class="bare" key="bare">
        <section class="panel hello" data-testid="hello">
          <p class="note">
            The server is up. Open any channel below, or publish to it; who is connected, and why a client did not get
            something, is in <a href="?view=operate">Operate</a>. A live ECG, this machine and a chat are what{" "}
            <code>myelin demo</code> shows here.
          </p>
        </section>
        <ChannelsPanel link={link} directory={directory} first="" />
        <OutageLog link={link} now={now} />
      </main>
    );
  }
  return (
    <main key="demo">
      <EcgPanel link={link} heart={heart} theme={theme} now={now} />
      <TelemetryPanel link={link} host={host} theme={theme} now={now} />
      <ChannelsPanel link={link} directory={directory} first={rateChannel} />
      <ChatPanel link={link} room={room} />
      <OutageLog link={link} now={now} />
    </main>
  );
}
