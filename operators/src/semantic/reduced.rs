//! An utterance without what a reader can do without (mathematics §10): words in small letters, no punctuation, no stop words, endings
//! taken off. English; words of other scripts only lose their capitals.
//!
//! Rules and a short list of irregular words instead of a dictionary: the same on every machine, and now and then no word that exists.

/// Words that carry no meaning of their own.
const STOP_WORDS: &str = "\
    a about above after again all also am an and any are as at be because been before being below between both but by can could \
    did do does doing down during each few for from further had has have having he her here hers herself him himself his how i if in \
    into is it its itself just me more most my myself no nor not now of off on once only or other our ours ourselves out over own same \
    shall she should so some such than that the their theirs them themselves then there these they this those through to too under until \
    up us very was we were what when where which while who whom why will with would you your yours yourself yourselves";

/// What an apostrophe may leave behind: don't, I'm, we're, she's, they've, you'll, he'd.
const CLITICS: [&str; 7] = ["t", "m", "re", "s", "ve", "ll", "d"];

/// Forms that no rule finds, and words that look like forms and are none.
const IRREGULAR: &str = "\
    went:go gone:go came:come said:say saw:see seen:see got:get gotten:get made:make knew:know known:know thought:think took:take \
    taken:take gave:give given:give found:find told:tell felt:feel left:leave met:meet heard:hear kept:keep began:begin begun:begin \
    brought:bring bought:buy caught:catch taught:teach ran:run sang:sing sung:sing spoke:speak spoken:speak wrote:write written:write \
    won:win lost:lose sat:sit stood:stand understood:understand slept:sleep held:hold sent:send spent:spend built:build broke:break \
    broken:break chose:choose chosen:choose drove:drive driven:drive ate:eat eaten:eat fell:fall fallen:fall flew:fly flown:fly \
    forgot:forget forgotten:forget grew:grow grown:grow meant:mean paid:pay sold:sell shown:show threw:throw thrown:throw wore:wear \
    worn:wear woke:wake men:man women:woman children:child feet:foot teeth:tooth lives:life wives:wife dying:die lying:lie tying:tie \
    morning:morning evening:evening thing:thing nothing:nothing something:something anything:anything everything:everything king:king \
    ring:ring bring:bring sing:sing spring:spring string:string wedding:wedding building:building need:need feed:feed speed:speed \
    indeed:indeed hundred:hundred news:news always:always perhaps:perhaps yes:yes this:this bus:bus gas:gas lens:lens";

/// The words that are left, joined by spaces; none if none is left, where the utterance itself has to do.
///
/// ```
/// use lsie_operators::semantic::reduced;
/// assert_eq!(reduced("Hello everyone, I'm so happy to be joining your streams!").as_deref(), Some("hello everyone happy join stream"));
/// assert_eq!(reduced("How are you?"), None);
/// ```
pub fn reduced(text: &str) -> Option<String> {
    let words: Vec<String> = text
        .split(|c: char| !(c.is_alphanumeric() || matches!(c, '\'' | '\u{2019}')))
        .map(|word| word.to_lowercase().replace('\u{2019}', "'"))
        .filter_map(|word| {
            Some(without_clitic(word.trim_matches('\''))).filter(|word| !word.is_empty()).map(str::to_owned)
        })
        .filter(|word| !is_in(STOP_WORDS, word))
        .map(|word| lemma(&word))
        .collect();
    (!words.is_empty()).then(|| words.join(" "))
}

fn is_in(list: &str, word: &str) -> bool {
    list.split_ascii_whitespace().any(|one| one == word)
}

/// The word before an apostrophe; `n` of a negation goes with it.
fn without_clitic(word: &str) -> &str {
    match word.split_once('\'') {
        Some((stem, "t")) => stem.strip_suffix('n').unwrap_or(stem),
        Some((stem, end)) if CLITICS.contains(&end) => stem,
        _ => word,
    }
}

/// The form under which a dictionary has it.
fn lemma(word: &str) -> String {
    let irregular = IRREGULAR.split_ascii_whitespace().filter_map(|pair| pair.split_once(':'));
    if let Some((_, lemma)) = irregular.into_iter().find(|(form, _)| *form == word) {
        return lemma.into();
    }
    if !word.bytes().all(|byte| byte.is_ascii_lowercase()) || word.len() < 4 {
        return word.into();
    }
    for ending in ["ies", "ied"] {
        if let Some(stem) = word.strip_suffix(ending).filter(|stem| stem.len() > 1) {
            return format!("{stem}y");
        }
    }
    for ending in ["ing", "ed"] {
        if let Some(stem) = word.strip_suffix(ending).filter(|stem| stem.len() > 1 && stem.contains(is_vowel))
        {
            return verb(stem);
        }
    }
    for ending in ["sses", "xes", "ches", "shes", "zzes"] {
        if word.ends_with(ending) {
            return word[..word.len() - 2].into();
        }
    }
    let is_plural = word.ends_with('s') && !["ss", "us", "is"].iter().any(|end| word.ends_with(end));
    if is_plural { word[..word.len() - 1].into() } else { word.into() }
}

/// A verb from what stands before its ending: a doubled consonant is single, and a lost e comes back.
fn verb(stem: &str) -> String {
    let letters: Vec<char> = stem.chars().collect();
    match letters[..] {
        [.., a, b] if a == b && !is_vowel(a) && !matches!(a, 'l' | 's' | 'z') => {
            stem[..stem.len() - 1].into()
        }
        // mak, lov, giv, us; but not join, start, play, happen.
        [.., v, c]
            if is_vowel(v) && !is_vowel(c) && !matches!(c, 'w' | 'x' | 'y') && vowels(&letters) == 1 =>
        {
            format!("{stem}e")
        }
        // arriv, believ, danc, chang, continu.
        [.., 'v' | 'c' | 'u'] | [.., 'n', 'g'] if vowels(&letters) > 0 && letters.len() > 3 => {
            format!("{stem}e")
        }
        _ => stem.into(),
    }
}

fn vowels(letters: &[char]) -> usize {
    letters.iter().filter(|letter| is_vowel(**letter)).count()
}

fn is_vowel(letter: char) -> bool {
    matches!(letter, 'a' | 'e' | 'i' | 'o' | 'u' | 'y')
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn words_come_in_their_dictionary_form() {
        for (form, expected) in [
            ("joining", "join"),
            ("joined", "join"),
            ("making", "make"),
            ("loved", "love"),
            ("using", "use"),
            ("stopped", "stop"),
            ("running", "run"),
            ("telling", "tell"),
            ("missed", "miss"),
            ("starting", "start"),
            ("playing", "play"),
            ("happening", "happen"),
            ("arriving", "arrive"),
            ("dancing", "dance"),
            ("tried", "try"),
            ("parties", "party"),
            ("boxes", "box"),
            ("watches", "watch"),
            ("kisses", "kiss"),
            ("friends", "friend"),
            ("went", "go"),
            ("children", "child"),
            ("everything", "everything"),
            ("morning", "morning"),
            ("red", "red"),
            ("glass", "glass"),
            ("bus", "bus"),
            ("2026", "2026"),
        ] {
            assert_eq!(lemma(form), expected, "{form}");
        }
    }

    #[test]
    fn what_means_nothing_is_dropped() {
        let check =
            |text: &str, expected: Option<&str>| assert_eq!(reduced(text).as_deref(), expected, "{text}");
        check("Hey, everyone! Don't miss it \u{2014} we're LIVE now.", Some("hey everyone miss live"));
        check("it\u{2019}s the children's party", Some("child party"));
        check("Привет, стрим!", Some("привет стрим"));
        check("'friends' 👋 words", Some("friend word"));
        check("مرحبا بالجميع", Some("مرحبا بالجميع"));
        check("I am. You are?", None);
        check("\u{0}\t…", None);
        check("", None);
    }

    #[test]
    fn long_texts_are_taken_whole() {
        let long = reduced(&"hello friends ".repeat(5_000)).expect("words");
        assert_eq!(long.split(' ').count(), 10_000);
    }

    proptest! {
        #[test]
        fn no_text_panics_and_no_word_is_invented(text in "\\PC{0,60}") {
            let words = text.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty()).count();
            let left = reduced(&text).unwrap_or_default();
            prop_assert!(left.split_whitespace().count() <= words);
            prop_assert!(!left.contains("  ") && left.trim() == left);
        }
    }
}
