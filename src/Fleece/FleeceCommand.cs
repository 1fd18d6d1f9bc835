// SPDX-License-Identifier: MIT
using System.Collections.ObjectModel;
using System.Management.Automation;
using System.Management.Automation.Host;
using Fleece.Block;
using Fleece.Disks.Records;
using Fleece.Hosting;
using Fleece.Hosting.Control;
using Fleece.Images;
using Fleece.Nbd;

namespace Fleece;

/// <summary>What all cmdlets share: waiting with Ctrl+C, mapped errors, paths as PowerShell means them.</summary>
/// <remarks>
/// The pipeline thread is the only place of Fleece that blocks on asynchronous work. Clean-up of what outlives a method belongs in
/// <see cref="Dispose()"/>: it is the only one that runs after Ctrl+C, a throwing neighbour and Select-Object -First alike.
/// </remarks>
public abstract class FleeceCommand : PSCmdlet, IDisposable
{
    private readonly CancellationTokenSource _stopping =
        CancellationTokenSource.CreateLinkedTokenSource(FleeceModule.Commands.Stopping);

    private readonly HashSet<string> _destinations = new(StringComparer.Ordinal);
    private IDiskOwner? _owner;
    private bool _isDisposed;
    private bool _yesToAll;
    private bool _noToAll;

    /// <summary>Notes that a cmdlet runs.</summary>
    protected FleeceCommand() => FleeceModule.Commands.Enter();

    /// <summary>The process that owns the disks which the cmdlet works on, asked for once.</summary>
    /// <exception cref="BlockException">Why the host that is meant can't be used.</exception>
    internal IDiskOwner Owner => _owner ??= Wait(
        FleeceModule.FindOwnerAsync(SessionState.Path.CurrentFileSystemLocation.ProviderPath, StopToken));

    /// <summary>Cancelled by Ctrl+C, and when the process is told to end.</summary>
    protected internal CancellationToken StopToken => _stopping.Token;

    /// <inheritdoc/>
    public void Dispose()
    {
        if (_isDisposed)
        {
            return;
        }

        _isDisposed = true;
        try
        {
            Dispose(disposing: true);
        }
        finally
        {
            FleeceModule.Commands.Exit();
        }

        GC.SuppressFinalize(this);
    }

    /// <inheritdoc/>
    protected override void StopProcessing() => _stopping.Cancel();

    /// <summary>Releases what the cmdlet holds; runs once, whatever ended the pipeline, also when it never began.</summary>
    protected virtual void Dispose(bool disposing)
    {
        if (disposing)
        {
            _stopping.Dispose();
        }
    }

    /// <summary>Blocks the pipeline thread until the work is done. Ctrl+C ends the pipeline without an error.</summary>
    protected internal static T Wait<T>(ValueTask<T> work)
    {
        if (work.IsCompletedSuccessfully)
        {
            return work.Result;
        }

        try
        {
            return work.AsTask().GetAwaiter().GetResult();
        }
        catch (OperationCanceledException)
        {
            throw new PipelineStoppedException();
        }
    }

    /// <inheritdoc cref="Wait{T}"/>
    protected internal static void Wait(ValueTask work)
    {
        if (work.IsCompletedSuccessfully)
        {
            return;
        }

        try
        {
            work.AsTask().GetAwaiter().GetResult();
        }
        catch (OperationCanceledException)
        {
            throw new PipelineStoppedException();
        }
    }

    /// <summary>As PowerShell's, with text that may be a stranger's made printable; so are the others that reach the terminal.</summary>
    public new void WriteWarning(string text) => base.WriteWarning(PrintableText.Of(text));

    /// <summary>As <see cref="WriteWarning"/>, from a disposal: the pipeline has ended by then, and its streams with it.</summary>
    protected void WriteLastWarning(string text) => Host.UI.WriteWarningLine(PrintableText.Of(text));

    /// <inheritdoc cref="WriteWarning"/>
    public new void WriteVerbose(string text) => base.WriteVerbose(PrintableText.Of(text));

    /// <inheritdoc cref="WriteWarning"/>
    public new void WriteProgress(ProgressRecord progressRecord)
    {
        ArgumentNullException.ThrowIfNull(progressRecord);
        progressRecord.Activity = PrintableText.Of(progressRecord.Activity);
        base.WriteProgress(progressRecord);
    }

    /// <inheritdoc cref="WriteWarning"/>
    public new bool ShouldProcess(string target, string action) =>
        base.ShouldProcess(PrintableText.Of(target), PrintableText.Of(action));

    /// <summary>Writes a warning, where there is one to write.</summary>
    protected void TellWarning(string? text)
    {
        if (text is not null)
        {
            WriteWarning(text);
        }
    }

    /// <summary>Asks before something that can lose data, where the user has not said -Force.</summary>
    /// <param name="loss">What is lost; a whole sentence.</param>
    /// <returns>Whether to go on.</returns>
    /// <exception cref="BlockException"><see cref="CmdletErrors.Unconfirmed"/>: no question can be asked.</exception>
    protected bool Confirms(string loss) => Ask(loss) ?? throw new BlockException(
        CmdletErrors.Unconfirmed,
        $"{loss} This PowerShell can't ask whether that is wanted; say so with -Force.");

    /// <summary>Asks as <see cref="Confirms"/>; null where no question can be asked.</summary>
    protected bool? Ask(string loss)
    {
        if (!CanAnswer)
        {
            return null;
        }

        try
        {
            // With a security impact the default answer is No.
            return ShouldContinue(
                PrintableText.Of($"{loss} Go on?"), "Confirm", hasSecurityImpact: true, ref _yesToAll, ref _noToAll);
        }
        catch (Exception e) when (e is HostException or InvalidOperationException or NotImplementedException)
        {
            return null;
        }
    }

    // A question in a job, or in a redirected output, waits unseen; the console takes an empty line of a pipe, and its end, for an answer.
    private bool CanAnswer => Host.Name switch
    {
        "ServerRemoteHost" => false,
        "ConsoleHost" => !Console.IsInputRedirected && !Console.IsOutputRedirected,
        _ => true,
    };

    /// <summary>The disk of that name, or those that fit a pattern.</summary>
    /// <exception cref="BlockException"><see cref="BlockErrors.InvalidArgument"/>: it is no pattern; or as
    /// <see cref="IDiskControl.FindDiskAsync"/>.</exception>
    private protected IReadOnlyList<DiskInfo> FindDisks(DiskReference reference)
    {
        if (!WildcardPattern.ContainsWildcardCharacters(reference.Name))
        {
            return [FindDisk(reference)];
        }

        WildcardPattern pattern = NamePattern.Parse(reference.Name);
        return [.. Wait(Owner.Disks.ListDisksAsync(StopToken)).Where(disk => pattern.IsMatch(disk.Name))];
    }

    /// <summary>The disk of that name.</summary>
    private protected DiskInfo FindDisk(DiskReference reference) => Wait(Owner.Disks.FindDiskAsync(reference, StopToken));

    /// <summary>A session, or the view of it that one of its consumers has.</summary>
    /// <param name="session">The session; null for the only one there is.</param>
    /// <param name="consumer">The consumer; null for the one that the session's record is of, if any.</param>
    private protected static SessionReference WithConsumer(SessionReference? session, string? consumer) =>
        (session ?? SessionReference.Only) with { Consumer = consumer ?? session?.Consumer };

    /// <summary>The disk that a record is of, so that a later request means no other of its name.</summary>
    internal static DiskReference Same(DiskInfo disk) => new(disk.Name, disk.MountId);

    /// <summary>Refuses a destination that an earlier item of the pipeline was written to: the last one alone would stay.</summary>
    /// <exception cref="BlockException">InvalidArgument.</exception>
    private protected void TakeDestination(string destination)
    {
        if (!_destinations.Add(destination))
        {
            throw new BlockException(
                BlockErrors.InvalidArgument,
                $"'{destination}' is the destination of an earlier item of this pipeline, which would be lost. Give each its own; a " +
                "script block such as { \"$($_.BaseName).qcow2\" } makes it of the item.",
                destination);
        }
    }

    /// <summary>The format of a new file. Warns where nothing will say that it is raw.</summary>
    private protected ImageFormat FormatOf(string newFile, ImageFormat? named)
    {
        ImageFormat format = named ?? Image.FormatForNewFile(newFile);
        if (named is null && ImageNames.Find(newFile) is null)
        {
            WriteWarning(
                $"The name '{newFile}' says no format, so the new image is raw, and cmdlets that open it need the format too. Name it " +
                "here with -Format Raw, or give the file the extension .raw, .qcow2, .vhdx or .vhd.");
        }

        return format;
    }

    /// <summary>Does something for each file that the parameters -Path and -LiteralPath mean.</summary>
    /// <param name="paths">What the user wrote.</param>
    /// <param name="isLiteral">True takes the paths as they are.</param>
    /// <param name="action">Gets the full path of a file, or the URI of an export.</param>
    /// <param name="takesUris">True where the URI of an NBD export stands for an image.</param>
    /// <param name="forOne">A parameter whose value suits one file only.</param>
    private protected void ForEachFile(
        string[] paths, bool isLiteral, Action<string> action, bool takesUris = false, string? forOne = null)
    {
        foreach (string path in paths)
        {
            ForItem(path, () =>
            {
                IReadOnlyList<string> files =
                    takesUris && NbdUri.IsUri(path) ? [ResolveUri(path).ToString()] :
                    isLiteral ? [ResolveLiteral(path)] :
                    ResolveWildcards(path);
                if (forOne is not null && files.Count * paths.Length > 1)
                {
                    throw new BlockException(
                        BlockErrors.InvalidArgument,
                        $"'{path}' is one of several files, and one -{forOne} can't be given to all of them. Name them one by one.",
                        path);
                }

                foreach (string file in files)
                {
                    ForItem(file, () => action(file));
                }
            });
        }
    }

    /// <summary>Does something for one input item; its failure is reported and the next item goes on.</summary>
    protected void ForItem(object? target, Action action)
    {
        ArgumentNullException.ThrowIfNull(action);
        try
        {
            action();
        }
        catch (BlockException e)
        {
            WriteError(ErrorRecords.From(e, target));
        }
    }

    /// <summary>Does something without which the cmdlet cannot go on; its failure ends the statement.</summary>
    protected void OrEnd(object? target, Action action)
    {
        ArgumentNullException.ThrowIfNull(action);
        try
        {
            action();
        }
        catch (BlockException e)
        {
            ThrowTerminatingError(ErrorRecords.From(e, target));
        }
    }

    /// <summary>Says with -Verbose that a file counts as raw because of its name alone.</summary>
    /// <param name="path">The file, or an export, which has no format.</param>
    /// <param name="parameter">The cmdlet's parameter for the format.</param>
    /// <param name="named">The format that the user gave.</param>
    /// <param name="opened">The format that the file was opened in.</param>
    protected void TellRawByName(string? path, string parameter, ImageFormat? named, ImageFormat? opened)
    {
        if (named is null && opened == ImageFormat.Raw)
        {
            WriteVerbose(
                $"'{path}' is a raw disk by its name alone, for nothing in a raw disk says what it is. -{parameter} Raw says so " +
                "whatever the file is called.");
        }
    }

    /// <summary>The file a user's path means; it need not exist.</summary>
    /// <exception cref="BlockException">InvalidArgument: it is an NBD URI; NotAFile: it is another provider's; NotFound: no such drive.
    /// </exception>
    protected string ResolveLiteral(string path)
    {
        if (NbdUri.IsUri(path))
        {
            throw NotAFile(path);
        }

        try
        {
            string resolved = SessionState.Path.GetUnresolvedProviderPathFromPSPath(
                path, out ProviderInfo provider, out _);
            CheckIsFile(provider, path);
            return resolved;
        }
        catch (SessionStateException e)
        {
            // An unknown drive or provider: as for any other input that is not there, the next one goes on.
            throw new BlockException(BlockErrors.NotFound, e.Message, path, operation: "open", cause: e);
        }
    }

    /// <summary>The address a user's NBD URI means; a socket's path is taken as PowerShell means paths.</summary>
    protected NbdUri ResolveUri(string text)
    {
        NbdUri uri = NbdUri.Parse(text);
        return uri.IsUnix ? uri.WithSocket(ResolveLiteral(uri.SocketPath)) : uri;
    }

    /// <summary>The file, or the export of an NBD server, that a user's address means.</summary>
    protected string ResolveAddress(string address) =>
        NbdUri.IsUri(address) ? ResolveUri(address).ToString() : ResolveLiteral(address);

    /// <summary>The files a user's path with wildcards means. A path without wildcards is itself, existing or not, and so is the
    /// path of a file or folder that exists: its name may hold characters that are wildcards elsewhere.</summary>
    /// <exception cref="BlockException">As <see cref="ResolveLiteral"/>; NotFound: no file fits the wildcards.</exception>
    protected IReadOnlyList<string> ResolveWildcards(string path)
    {
        string literal = ResolveLiteral(path);
        if (System.IO.Path.Exists(literal))
        {
            return [literal];
        }

        if (!WildcardPattern.ContainsWildcardCharacters(path))
        {
            // Completion escapes what only looks like a wildcard: `[ stands for [.
            return [ResolveLiteral(WildcardPattern.Unescape(path))];
        }

        try
        {
            Collection<string> resolved =
                SessionState.Path.GetResolvedProviderPathFromPSPath(path, out ProviderInfo provider);
            CheckIsFile(provider, path);
            return resolved.Count != 0 ? resolved : throw NothingFits(path);
        }
        catch (SessionStateException)
        {
            throw NothingFits(path);
        }
    }

    private static BlockException NothingFits(string path) => new(
        BlockErrors.NotFound,
        $"No file fits '{path}', in which *, ? and [ are wildcards. Give a name that holds such characters with -LiteralPath.",
        path,
        operation: "open");

    // Names the parameter that holds the text, and the one that takes a URI where the cmdlet has it.
    private BlockException NotAFile(string uri)
    {
        string? parameter = MyInvocation.BoundParameters
            .FirstOrDefault(pair => (pair.Value as Array ?? new[] { pair.Value }).Cast<object?>().Any(item => item?.ToString() == uri)).Key;
        string advice = parameter == "DestinationPath" && MyInvocation.MyCommand.Parameters.ContainsKey("DestinationUri")
            ? "Name an export with -DestinationUri."
            : "Name a file.";
        return new BlockException(
            BlockErrors.InvalidArgument,
            $"'{uri}' is the URI of an NBD export, and {(parameter is null ? "this" : $"-{parameter}")} takes the path of a file. {advice}",
            uri);
    }

    private static void CheckIsFile(ProviderInfo provider, string path)
    {
        if (provider.Name != "FileSystem")
        {
            throw new BlockException(
                BlockErrors.NotAFile, $"'{path}' is a path of the provider {provider.Name}; images are files.", path);
        }
    }
}
