// SPDX-License-Identifier: MIT
using System.Collections;
using System.Management.Automation;
using System.Management.Automation.Language;
using Fleece.Block;
using Fleece.Block.Telemetry;
using Fleece.Hosting.Control;

namespace Fleece;

/// <summary>Offers names of things that are there, each once.</summary>
public abstract class NameCompleter : IArgumentCompleter
{
    /// <inheritdoc/>
    public IEnumerable<CompletionResult> CompleteArgument(
        string commandName,
        string parameterName,
        string wordToComplete,
        CommandAst commandAst,
        IDictionary fakeBoundParameters)
    {
        ArgumentNullException.ThrowIfNull(wordToComplete);
        WildcardPattern pattern;
        try
        {
            pattern = NamePattern.Parse(wordToComplete.Trim('\'', '"') + "*");
        }
        catch (BlockException)
        {
            return []; // Half a pattern, such as "a[", completes to nothing; an error here would reach nobody.
        }

        return
        [
            .. FindNames(fakeBoundParameters)
                .DistinctBy(name => name.Name)
                .Where(name => pattern.IsMatch(name.Name))
                .Select(name => Result(name.Name, PrintableText.Of(name.Tip))),
        ];
    }

    /// <summary>The names, each with what a user is told of it.</summary>
    private protected abstract IEnumerable<(string Name, string Tip)> FindNames(IDictionary boundParameters);

    /// <summary>An answer of the process that owns the disks; nothing where it can't be had, because no user would see an error here.
    /// </summary>
    private protected static IReadOnlyList<T> Ask<T>(Func<IDiskOwner, ValueTask<IReadOnlyList<T>>> request)
    {
        try
        {
            return FleeceCommand.Wait(request(FleeceCommand.Wait(FleeceModule.FindOwnerAsync(folder: null, default))));
        }
        catch (BlockException)
        {
            return [];
        }
    }

    private static CompletionResult Result(string name, string tip)
    {
        string text = name.All(c => char.IsLetterOrDigit(c) || c is '-' or '_' or '.' or '/')
            ? name
            : $"'{CodeGeneration.EscapeSingleQuotedStringContent(name)}'";
        return new CompletionResult(text, name, CompletionResultType.ParameterValue, tip);
    }
}

/// <summary>Offers the names of mounted disks.</summary>
public sealed class DiskNameCompleter : NameCompleter
{
    private protected override IEnumerable<(string Name, string Tip)> FindNames(IDictionary boundParameters) =>
        Ask(owner => owner.Disks.ListDisksAsync(default)).Select(disk => (disk.Name, disk.Path));
}

/// <summary>Offers the names of running sessions.</summary>
public sealed class SessionNameCompleter : NameCompleter
{
    private protected override IEnumerable<(string Name, string Tip)> FindNames(IDictionary boundParameters) =>
        Ask(owner => owner.Sessions.ListSessionsAsync(default))
            .Select(session => (session.Id, $"{session.State}, since {session.StartedAt:u}"));
}

/// <summary>Offers the names of consumers: those of the session that was named, or of all.</summary>
public sealed class ConsumerNameCompleter : NameCompleter
{
    private protected override IEnumerable<(string Name, string Tip)> FindNames(IDictionary boundParameters)
    {
        string? named = boundParameters["Session"]?.ToString();
        return Ask(owner => owner.Sessions.ListSessionsAsync(default))
            .Where(session => named is null || session.IsCalled(named))
            .SelectMany(session => session.Consumers)
            .Select(consumer => (consumer.Name, $"{consumer.Session}, {consumer.RemainingBytes} bytes to go"));
    }
}

/// <summary>Offers the names of bitmaps: those of the disk that was named, or of all.</summary>
public sealed class BitmapNameCompleter : NameCompleter
{
    private protected override IEnumerable<(string Name, string Tip)> FindNames(IDictionary boundParameters)
    {
        string? named = boundParameters["Disk"]?.ToString();
        return Ask(owner => owner.Disks.ListDisksAsync(default))
            .Where(disk => named is null || disk.Name.Equals(named, StringComparison.OrdinalIgnoreCase))
            .SelectMany(disk => Ask(owner => owner.Bitmaps.ListBitmapsAsync(FleeceCommand.Same(disk), default)))
            .Select(bitmap => (bitmap.Name, $"{bitmap.Disk}, {bitmap.State}"));
    }
}

/// <summary>Offers the names of metrics.</summary>
public sealed class MetricNameCompleter : NameCompleter
{
    private protected override IEnumerable<(string Name, string Tip)> FindNames(IDictionary boundParameters) =>
        FleeceMetrics.All.Select(metric => (metric.Name, metric.Description));
}

/// <summary>Offers the devices of the guest whose QMP socket was given.</summary>
public sealed class DeviceNameCompleter : NameCompleter
{
    private protected override IEnumerable<(string Name, string Tip)> FindNames(IDictionary boundParameters) =>
        boundParameters["QmpSocketPath"]?.ToString() is { Length: > 0 } path && Resolve(path) is { } socketPath
            ? Ask(owner => owner.Guests.ListGuestDisksAsync(socketPath, default))
                .Select(disk => (disk.Device, disk.Obstacle ?? $"{disk.Format}, {disk.SizeBytes} bytes"))
            : [];

    // As PowerShell means paths, which is not the process's folder.
    private static string? Resolve(string path)
    {
        using PowerShell shell = PowerShell.Create(RunspaceMode.CurrentRunspace);
        return shell.AddCommand("Convert-Path").AddParameter("LiteralPath", path).AddParameter("ErrorAction", "Ignore")
            .Invoke<string>().FirstOrDefault();
    }
}
