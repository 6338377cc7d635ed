/** The widget in JSX. It is checked with the types of React 19 and 18, and never run. */

import { useRef } from "react";
import type {} from "harken-feedback/react";
import type { HarkenFeedback } from "harken-feedback/widget";

export const Feedback = ({ token, isOver }: { token: string; isOver: boolean }) => {
  const widget = useRef<HarkenFeedback>(null);
  return (
    <>
      <harken-feedback
        ref={widget}
        key="answer-1"
        id="feedback"
        session="s-1"
        message="m-1"
        token={token}
        variant="card"
        ask="both"
        disabled={isOver || undefined}
        onharken-saved={({ detail }) => console.log(detail.rating, detail.version)}
        onClick={() => widget.current?.open("down")}
      >
        <span slot="prompt">Did this help?</span>
      </harken-feedback>
      {/* @ts-expect-error: there is no such variant */}
      <harken-feedback variant="large" />
      {/* @ts-expect-error: React 18 writes `false` as text, which switches the flag on */}
      <harken-feedback disabled={false} />
      {/* @ts-expect-error: there is no such attribute */}
      <harken-feedback mesage="m-1" />
    </>
  );
};
