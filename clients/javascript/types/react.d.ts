/** `<harken-feedback>` in JSX, for React 18 and 19: `import type {} from "harken-feedback/react";` */

import type { ClassAttributes, HTMLAttributes } from "react";
import type { HarkenFeedback, HarkenFeedbackAttributes, HarkenFeedbackEventMap } from "./widget.js";

/** React 19 calls these. React 18 ignores them: there, use a `ref` and `addEventListener`. */
type Listeners = { [Type in keyof HarkenFeedbackEventMap as `on${Type}`]?: (event: HarkenFeedbackEventMap[Type]) => void };

declare module "react" {
  namespace JSX {
    interface IntrinsicElements {
      "harken-feedback": HarkenFeedbackAttributes &
        Listeners &
        ClassAttributes<HarkenFeedback> &
        Omit<HTMLAttributes<HarkenFeedback>, keyof HarkenFeedbackAttributes>;
    }
  }
}
