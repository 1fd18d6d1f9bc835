// SPDX-License-Identifier: MIT
using System.Collections;
using System.Management.Automation;
using System.Management.Automation.Language;
using Fleece.Block;

namespace Fleece;

/// <summary>Offers the names of mounted disks.</summary>
public sealed class DiskNameCompleter : IArgumentCompleter
{
    /// <inheritdoc/>
    public IEnumerable<CompletionResult> CompleteArgument(
        string commandName,
        string parameterName,
        string wordToComplete,
        CommandAst commandAst,
        IDictionary fakeBoundParameters) =>
        Completion.Offer(FleeceModule.Disks.All.Select(disk => (disk.Name, disk.Path)), wordToComplete);
}

/// <summary>Offers the names of running sessions.</summary>
public sealed class SessionNameCompleter : IArgumentCompleter
{
    /// <inheritdoc/>
    public IEnumerable<CompletionResult> CompleteArgument(
        string commandName,
        string parameterName,
        string wordToComplete,
        CommandAst commandAst,
        IDictionary fakeBoundParameters) =>
        Completion.Offer(
            FleeceModule.Disks.Sessions.Select(session => (session.Id, $"{session.State}, since {session.StartedAt:u}")),
            wordToComplete);
}

/// <summary>Offers the names of consumers: those of the session that was named, or of all.</summary>
public sealed class ConsumerNameCompleter : IArgumentCompleter
{
    /// <inheritdoc/>
    public IEnumerable<CompletionResult> CompleteArgument(
        string commandName,
        string parameterName,
        string wordToComplete,
        CommandAst commandAst,
        IDictionary fakeBoundParameters)
    {
        ArgumentNullException.ThrowIfNull(fakeBoundParameters);
        string? named = fakeBoundParameters["Session"]?.ToString();
        return Completion.Offer(
            FleeceModule.Disks.Sessions
                .Where(session => named is null || session.IsCalled(named))
                .SelectMany(session => session.Consumers)
                .Select(consumer => (consumer.Name, $"{consumer.Session.Id}, {consumer.RemainingBytes} bytes to go"))
                .DistinctBy(offer => offer.Name),
            wordToComplete);
    }
}

/// <summary>Offers the names of bitmaps: those of the disk that was named, or of all.</summary>
public sealed class BitmapNameCompleter : IArgumentCompleter
{
    /// <inheritdoc/>
    public IEnumerable<CompletionResult> CompleteArgument(
        string commandName,
        string parameterName,
        string wordToComplete,
        CommandAst commandAst,
        IDictionary fakeBoundParameters)
    {
        ArgumentNullException.ThrowIfNull(fakeBoundParameters);
        string? named = fakeBoundParameters["Disk"]?.ToString();
        return Completion.Offer(
            FleeceModule.Disks.All
                .Where(disk => disk.Bitmaps.IsUsable && (named is null || disk.Name.Equals(named, StringComparison.OrdinalIgnoreCase)))
                .SelectMany(disk => disk.Bitmaps.All)
                .Select(bitmap => (bitmap.Name, $"{bitmap.Disk.Name}, {bitmap.State}"))
                .DistinctBy(offer => offer.Name),
            wordToComplete);
    }
}

/// <summary>What the completers do with their names.</summary>
internal static class Completion
{
    public static IEnumerable<CompletionResult> Offer(IEnumerable<(string Name, string Tip)> names, string word)
    {
        WildcardPattern pattern;
        try
        {
            pattern = NamePattern.Parse(word.Trim('\'', '"') + "*");
        }
        catch (BlockException)
        {
            return []; // Half a pattern, such as "a[", completes to nothing; an error here would reach nobody.
        }

        return [.. names.Where(name => pattern.IsMatch(name.Name)).Select(name => Result(name.Name, name.Tip))];
    }

    private static CompletionResult Result(string name, string tip)
    {
        string text = name.All(c => char.IsLetterOrDigit(c) || c is '-' or '_' or '.' or '/')
            ? name
            : $"'{CodeGeneration.EscapeSingleQuotedStringContent(name)}'";
        return new CompletionResult(text, name, CompletionResultType.ParameterValue, tip);
    }
}
