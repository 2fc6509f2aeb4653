package template

import "strings"

// cost is how a function's work grows with its arguments, and who counts it. Whatever the class, the work is counted
// before it is done: what does not fit the budget is not begun.
type cost uint8

const (
	costFixed    cost = iota + 1 // looks at kinds and lengths alone
	costText                     // goes through the texts of its arguments once; counted by the caller of the function
	costCounted                  // as costText, and counts by itself what it goes through beyond that and all that it makes
	costBorrowed                 // sprig's code on input of at most maxSprigInput bytes
)

// costs has every function. One that is not in it cannot be called.
var costs = makeCosts(map[cost]string{
	costFixed: `all any coalesce deepCopy mustDeepCopy default empty first mustFirst getRealIP hello kindOf not now
		ternary typeOf`,
	costText: `ago atoi contains float64 hasPrefix hasSuffix int int64 kindIs plural trim toString typeIs typeIsLike
		unixEpoch`,
	costCounted: `add add1 append push mustAppend mustPush b64enc cat chunk mustChunk compact mustCompact concat date
		dateInZone date_in_zone dateModify date_modify mustDateModify must_date_modify deepEqual dict dig div eq fail
		fromJson mustFromJson ge get gjson gt has mustHas hasKey html htmlDate htmlDateInZone indent index initial
		mustInitial join js keys last mustLast le len list tuple lower lt max biggest merge mustMerge mergeOverwrite
		mustMergeOverwrite min mod mul ne nindent omit pick pluck prepend mustPrepend print printf println quote randAlpha
		randAlphaNum randAscii randBytes randNumeric regexFind mustRegexFind regexFindAll mustRegexFindAll regexMatch
		mustRegexMatch regexQuoteMeta regexReplaceAll mustRegexReplaceAll regexReplaceAllLiteral
		mustRegexReplaceAllLiteral regexSplit mustRegexSplit repeat replace rest mustRest reverse mustReverse seq set
		slice mustSlice sortAlpha split splitList splitn squote sub substr time.AddDate time.Format toDate mustToDate
		toJson mustToJson toPrettyJson mustToPrettyJson toRawJson mustToRawJson toStrings trimAll trimall trimPrefix
		trimSuffix trunc uniq mustUniq unset until untilStep upper urlquery values without mustWithout`,
	costBorrowed: `abbrev abbrevboth add1f addf adler32sum b32dec b32enc b64dec base camelcase ceil clean decryptAES dir
		divf duration durationRound encryptAES ext floor initials isAbs kebabcase maxf minf mulf nospace osBase osClean
		osDir osExt osIsAbs randInt round semver semverCompare sha1sum sha256sum sha512sum shuffle snakecase subf
		swapcase title toDecimal untitle urlJoin urlParse uuidv4 wrap wrapWith`,
})

func makeCosts(classes map[cost]string) map[string]cost {
	all := map[string]cost{}
	for class, names := range classes {
		for name := range strings.FieldsSeq(names) {
			all[name] = class
		}
	}
	return all
}
