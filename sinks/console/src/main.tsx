// Starts the console: address, colours, settings, the engine's pulse, then the page.
import { render } from "preact";
import "./style/tokens.css";
import "./style/base.css";
import "./style/parts.css";
import "./style/pages.css";
import "uplot/dist/uPlot.min.css";
import { App } from "./app";
import { followEpochs } from "./api/clock";
import { followPulse } from "./api/pulse";
import { followVisibility } from "./api/surface";
import { loadRole } from "./store/role";
import { followAddress } from "./store/place";
import { loadSettings } from "./store/settings";
import { followTheme } from "./store/theme";
import { texts } from "./texts";

followTheme();
followAddress();
followVisibility();
const root = document.getElementById("console")!;
try {
  await Promise.all([loadSettings(), loadRole()]);
  followPulse();
  followEpochs();
  render(<App />, root);
} catch (error) {
  // Settings that make no sense: better no console than one that misleads.
  render(<p role="alert">{texts.refused(String(error))}</p>, root);
}
