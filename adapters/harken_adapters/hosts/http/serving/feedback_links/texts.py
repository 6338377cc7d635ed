"""The texts of the page of a feedback link, in each language."""

# Punctuation of Chinese and Japanese looks like that of Latin scripts.
# ruff: noqa: RUF001

from __future__ import annotations

from typing import Final

from attrs import frozen

from harken_adapters.tokens.feedback_links import LANGUAGES, language_of

#: The tags of the reasons, in the order in which they are shown.
REASONS: Final = ("wrong", "incomplete", "slow", "unclear", "other")
_RIGHT_TO_LEFT: Final = frozenset({"ar"})
#: Enough for the languages that a browser lists.
_MAX_RANGES: Final = 50


@frozen(kw_only=True)
class Texts:
    """The texts in one language. ``reasons`` are in the order of :data:`REASONS`."""

    question: str
    up: str
    down: str
    what_went_wrong: str
    reasons: tuple[str, str, str, str, str]
    own_words: str
    send: str
    not_now: str
    change: str
    undo: str
    reply: str
    thanks: str
    sent: str
    taken_back: str
    said_up: str
    said_down: str
    said_neutral: str
    required: str
    too_long: str
    spam: str
    choose: str
    not_saved: str
    busy: str
    unavailable: str
    expired: str
    expired_hint: str
    invalid: str
    invalid_hint: str
    your_words: str


TEXTS: Final = {
    "en": Texts(
        question="Was this answer helpful?",
        up="Helpful",
        down="Not helpful",
        what_went_wrong="What went wrong?",
        reasons=("Not true", "Incomplete", "Too slow", "Hard to follow", "Something else"),
        own_words="In your own words",
        send="Send",
        not_now="Not now",
        change="Change",
        undo="Undo",
        reply="Reply",
        thanks="Thanks",
        sent="Sent. Thank you",
        taken_back="Taken back",
        said_up="You said: helpful.",
        said_down="You said: not helpful.",
        said_neutral="You said: neutral.",
        required="Pick a reason or write a few words, so that we can fix it.",
        too_long="This text is too long. Please shorten it.",
        spam="This text looks like spam. Please reword it.",
        choose="Choose one of the two.",
        not_saved="Not saved. Try again.",
        busy="A moment, please. Try again in {seconds} s.",
        unavailable="Feedback is not available at the moment. Try again later.",
        expired="This link has expired",
        expired_hint="Feedback can no longer be given here.",
        invalid="This link is not valid",
        invalid_hint="Part of it may be missing. Open it again from the message that you received.",
        your_words="Your text, so that you can copy it:",
    ),
    "es": Texts(
        question="¿Te ha sido útil esta respuesta?",
        up="Útil",
        down="No es útil",
        what_went_wrong="¿Qué ha fallado?",
        reasons=("No es cierto", "Incompleta", "Demasiado lenta", "Difícil de entender", "Otra cosa"),
        own_words="Con tus palabras",
        send="Enviar",
        not_now="Ahora no",
        change="Cambiar",
        undo="Deshacer",
        reply="Respuesta",
        thanks="Gracias",
        sent="Enviado. Gracias",
        taken_back="Retirado",
        said_up="Has dicho: útil.",
        said_down="Has dicho: no es útil.",
        said_neutral="Has dicho: neutral.",
        required="Elige un motivo o escribe unas palabras, para que podamos corregirlo.",
        too_long="Este texto es demasiado largo. Acórtalo, por favor.",
        spam="Este texto parece spam. Escríbelo de otra forma, por favor.",
        choose="Elige una de las dos opciones.",
        not_saved="No se ha guardado. Inténtalo de nuevo.",
        busy="Un momento, por favor. Inténtalo de nuevo en {seconds} s.",
        unavailable="Ahora mismo no se pueden enviar opiniones. Inténtalo más tarde.",
        expired="Este enlace ha caducado",
        expired_hint="Ya no se pueden enviar opiniones aquí.",
        invalid="Este enlace no es válido",
        invalid_hint="Puede que falte una parte. Ábrelo de nuevo desde el mensaje que recibiste.",
        your_words="Tu texto, para que puedas copiarlo:",
    ),
    "de": Texts(
        question="War diese Antwort hilfreich?",
        up="Hilfreich",
        down="Nicht hilfreich",
        what_went_wrong="Was stimmt nicht?",
        reasons=("Stimmt nicht", "Unvollständig", "Zu langsam", "Schwer verständlich", "Etwas anderes"),
        own_words="In eigenen Worten",
        send="Senden",
        not_now="Jetzt nicht",
        change="Ändern",
        undo="Rückgängig",
        reply="Antwort",
        thanks="Danke",
        sent="Gesendet. Vielen Dank",
        taken_back="Zurückgenommen",
        said_up="Ihre Angabe: hilfreich.",
        said_down="Ihre Angabe: nicht hilfreich.",
        said_neutral="Ihre Angabe: neutral.",
        required="Wählen Sie einen Grund oder schreiben Sie ein paar Worte, damit wir es verbessern können.",
        too_long="Dieser Text ist zu lang. Bitte kürzen Sie ihn.",
        spam="Dieser Text sieht wie Spam aus. Bitte formulieren Sie ihn um.",
        choose="Wählen Sie eine der beiden Angaben.",
        not_saved="Nicht gespeichert. Versuchen Sie es noch einmal.",
        busy="Einen Moment, bitte. Versuchen Sie es in {seconds} s noch einmal.",
        unavailable="Feedback ist im Moment nicht möglich. Versuchen Sie es später noch einmal.",
        expired="Dieser Link ist abgelaufen",
        expired_hint="Hier ist kein Feedback mehr möglich.",
        invalid="Dieser Link ist ungültig",
        invalid_hint="Vielleicht fehlt ein Teil. Öffnen Sie ihn noch einmal aus der Nachricht, die Sie erhalten haben.",
        your_words="Ihr Text, damit Sie ihn kopieren können:",
    ),
    "fr": Texts(
        question="Cette réponse vous a-t-elle été utile ?",
        up="Utile",
        down="Pas utile",
        what_went_wrong="Qu’est-ce qui n’allait pas ?",
        reasons=("Inexact", "Incomplet", "Trop lent", "Difficile à suivre", "Autre chose"),
        own_words="Avec vos propres mots",
        send="Envoyer",
        not_now="Pas maintenant",
        change="Modifier",
        undo="Annuler",
        reply="Réponse",
        thanks="Merci",
        sent="Envoyé. Merci",
        taken_back="Avis retiré",
        said_up="Votre avis : utile.",
        said_down="Votre avis : pas utile.",
        said_neutral="Votre avis : neutre.",
        required="Choisissez une raison ou écrivez quelques mots, pour que nous puissions corriger.",
        too_long="Ce texte est trop long. Veuillez le raccourcir.",
        spam="Ce texte ressemble à du spam. Veuillez le reformuler.",
        choose="Choisissez l’une des deux réponses.",
        not_saved="Non enregistré. Réessayez.",
        busy="Un instant, s’il vous plaît. Réessayez dans {seconds} s.",
        unavailable="Les avis sont indisponibles pour le moment. Réessayez plus tard.",
        expired="Ce lien a expiré",
        expired_hint="Il n’est plus possible de donner un avis ici.",
        invalid="Ce lien n’est pas valide",
        invalid_hint="Il en manque peut-être une partie. Ouvrez-le de nouveau depuis le message que vous avez reçu.",
        your_words="Votre texte, pour que vous puissiez le copier :",
    ),
    "pt": Texts(
        question="Esta resposta foi útil?",
        up="Útil",
        down="Não foi útil",
        what_went_wrong="Qual foi o problema?",
        reasons=("Não é verdade", "Incompleta", "Muito lenta", "Difícil de entender", "Outra coisa"),
        own_words="Nas suas palavras",
        send="Enviar",
        not_now="Agora não",
        change="Alterar",
        undo="Desfazer",
        reply="Resposta",
        thanks="Obrigado",
        sent="Enviado. Obrigado",
        taken_back="Retirado",
        said_up="A sua resposta: útil.",
        said_down="A sua resposta: não foi útil.",
        said_neutral="A sua resposta: neutra.",
        required="Escolha um motivo ou escreva algumas palavras, para que possamos corrigir.",
        too_long="Este texto é muito longo. Encurte-o, por favor.",
        spam="Este texto parece spam. Reformule-o, por favor.",
        choose="Escolha uma das duas opções.",
        not_saved="Não foi gravado. Tente de novo.",
        busy="Um momento, por favor. Tente de novo em {seconds} s.",
        unavailable="Neste momento, não é possível dar a sua opinião. Tente mais tarde.",
        expired="Este link expirou",
        expired_hint="Já não é possível dar a sua opinião aqui.",
        invalid="Este link não é válido",
        invalid_hint="Pode faltar uma parte. Abra-o de novo a partir da mensagem que recebeu.",
        your_words="O seu texto, para que possa copiá-lo:",
    ),
    "ar": Texts(
        question="هل كانت هذه الإجابة مفيدة؟",
        up="مفيدة",
        down="غير مفيدة",
        what_went_wrong="ما الخطأ؟",
        reasons=("غير صحيحة", "ناقصة", "بطيئة", "غير واضحة", "شيء آخر"),
        own_words="بكلماتك",
        send="إرسال",
        not_now="ليس الآن",
        change="تغيير",
        undo="تراجع",
        reply="الرد",
        thanks="شكرًا",
        sent="تم الإرسال. شكرًا لك",
        taken_back="تم السحب",
        said_up="رأيك: مفيدة.",
        said_down="رأيك: غير مفيدة.",
        said_neutral="رأيك: محايد.",
        required="اختر سببًا أو اكتب بضع كلمات حتى نتمكن من إصلاح الأمر.",
        too_long="هذا النص طويل جدًا. يرجى اختصاره.",
        spam="يبدو هذا النص رسالة غير مرغوب فيها. يرجى إعادة صياغته.",
        choose="اختر أحد الخيارين.",
        not_saved="لم يتم الحفظ. حاول مرة أخرى.",
        busy="لحظة من فضلك. حاول مرة أخرى بعد {seconds} ث.",
        unavailable="لا يمكن إرسال الآراء حاليًا. حاول لاحقًا.",
        expired="انتهت صلاحية هذا الرابط",
        expired_hint="لم يعد من الممكن إبداء الرأي هنا.",
        invalid="هذا الرابط غير صالح",
        invalid_hint="ربما ينقص جزء منه. افتحه مرة أخرى من الرسالة التي وصلتك.",
        your_words="نصك، حتى تتمكن من نسخه:",
    ),
    "ja": Texts(
        question="この回答は役に立ちましたか？",
        up="役に立った",
        down="役に立たなかった",
        what_went_wrong="何が問題でしたか？",
        reasons=("正しくない", "不十分", "遅すぎる", "わかりにくい", "その他"),
        own_words="ご自由にお書きください",
        send="送信",
        not_now="今はしない",
        change="変更",
        undo="取り消す",
        reply="返信",
        thanks="ありがとうございます",
        sent="送信しました。ありがとうございます",
        taken_back="取り消しました",
        said_up="あなたの評価：役に立った",
        said_down="あなたの評価：役に立たなかった",
        said_neutral="あなたの評価：どちらでもない",
        required="改善のため、理由を選ぶか、ひとことお書きください。",
        too_long="文章が長すぎます。短くしてください。",
        spam="スパムと判定されました。別の表現でお書きください。",
        choose="どちらかを選んでください。",
        not_saved="保存できませんでした。もう一度お試しください。",
        busy="少々お待ちください。{seconds} 秒後にもう一度お試しください。",
        unavailable="現在フィードバックを受け付けられません。後でもう一度お試しください。",
        expired="このリンクの有効期限が切れました",
        expired_hint="ここではフィードバックを送信できなくなりました。",
        invalid="このリンクは無効です",
        invalid_hint="リンクの一部が欠けている可能性があります。受け取ったメッセージからもう一度開いてください。",
        your_words="入力された文章です。コピーできます。",
    ),
    "zh": Texts(
        question="这个回答有帮助吗？",
        up="有帮助",
        down="没有帮助",
        what_went_wrong="哪里有问题？",
        reasons=("不正确", "不完整", "太慢", "难以理解", "其他"),
        own_words="请用自己的话说明",
        send="发送",
        not_now="以后再说",
        change="更改",
        undo="撤销",
        reply="回复",
        thanks="谢谢",
        sent="已发送，谢谢",
        taken_back="已撤回",
        said_up="您的评价：有帮助。",
        said_down="您的评价：没有帮助。",
        said_neutral="您的评价：中立。",
        required="请选择一个原因或写几句话，以便我们改进。",
        too_long="文字太长，请缩短。",
        spam="这段文字像是垃圾信息，请换一种说法。",
        choose="请选择其中一项。",
        not_saved="未保存，请重试。",
        busy="请稍候，{seconds} 秒后重试。",
        unavailable="目前无法提交反馈，请稍后重试。",
        expired="此链接已过期",
        expired_hint="此处已无法再提交反馈。",
        invalid="此链接无效",
        invalid_hint="链接可能不完整。请从您收到的消息中重新打开。",
        your_words="您输入的文字，方便您复制：",
    ),
}


def direction(language: str) -> str:
    """The direction of the script of a language, for the attribute ``dir``."""
    return "rtl" if language in _RIGHT_TO_LEFT else "ltr"


def preferred_language(accept_language: str | None) -> str:
    """The language that a browser prefers, of those with texts (RFC 9110, section 12.5.4)."""
    ranges = (accept_language or "").split(",")[:_MAX_RANGES]
    accepted = [(quality, language) for quality, language in map(_range, ranges) if quality > 0 and language]
    return max(accepted, key=lambda one: one[0], default=(1.0, LANGUAGES[0]))[1]


def _range(text: str) -> tuple[float, str | None]:
    """The quality and the language of a language range such as ``de-CH;q=0.8``."""
    tag, _, parameter = text.partition(";")
    name, _, value = parameter.strip().partition("=")
    if not parameter.strip():
        return 1.0, language_of(tag)
    try:
        return (float(value) if name.strip().lower() == "q" else 0.0), language_of(tag)
    except ValueError:
        return 0.0, None
