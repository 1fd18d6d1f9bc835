// SPDX-License-Identifier: MIT
using Fleece.Block;
using Fleece.Block.Files;

namespace Fleece.Hosting.State;

/// <summary>The files of a state directory: state.json, and the copy of the generation before it.</summary>
/// <remarks>
/// <para>state.json is there whole from the first change on: a new one is written beside it, flushed and renamed over it. So a host that is
/// killed leaves the state before a change or the one after.</para>
/// <para>Threading. One thread at a time, under the directory's lock.</para>
/// </remarks>
internal sealed class StateStore(string folder, StateFormat format)
{
    private const string Previous = ".previous";
    private const string OlderVersion = ".version-";

    private static readonly string Writer = typeof(StateStore).Assembly.GetName().Version!.ToString(fieldCount: 3);

    private readonly string _path = Path.Combine(folder, "state.json");

    // The content of state.json; null where it is not there yet.
    private byte[]? _bytes;
    private long _generation;

    /// <summary>Reads the disks and the guests, and keeps a copy of a file of an older version.</summary>
    /// <exception cref="BlockException"><see cref="HostErrors.StateInvalid"/>, or why it can't be read.</exception>
    public (IReadOnlyList<MountedDiskState> Disks, IReadOnlyList<string> QmpSockets) Read()
    {
        if (ReadFile(_path) is not { } bytes)
        {
            return ReadFile(_path + Previous) is null ? ([], []) : throw Invalid(new StateFault("it is not there"));
        }

        StateDocument document = format.Parse(bytes, out int version, out StateFault? fault) ?? throw Invalid(fault!);
        if (version != format.WrittenVersion)
        {
            WholeFile.Write($"{_path}{OlderVersion}{version}", bytes);
        }

        _bytes = bytes;
        _generation = document.Generation;
        return (document.Disks, document.QmpSockets);
    }

    /// <summary>Writes the disks and the guests as the next generation, durably.</summary>
    /// <exception cref="BlockException">Why they can't be stored: then the state before is there.</exception>
    public void Write(IReadOnlyList<MountedDiskState> disks, IReadOnlyList<string> qmpSockets)
    {
        byte[] bytes = format.Encode(new StateDocument(Writer, DateTimeOffset.UtcNow, _generation + 1, disks, qmpSockets));
        if (format.Parse(bytes, out _, out StateFault? fault) is null)
        {
            // The next start would refuse it.
            throw new BlockException(
                BlockErrors.InvalidArgument,
                $"The host can't keep this for its next start: as a state, {fault!.Reason}.",
                _path,
                operation: "write");
        }

        try
        {
            if (_bytes is not null)
            {
                WholeFile.Write(_path + Previous, _bytes);
            }

            WholeFile.Write(_path, bytes);
        }
        catch (BlockException e)
        {
            PutBack();
            throw new BlockException(
                e.Kind, $"The host can't store its list of disks. {e.Message}", e.Path, e.OffsetBytes, e.Operation, e);
        }

        _bytes = bytes;
        _generation++;
    }

    // A flush of the folder that fails comes after the new name. Storage that refuses this too leaves one of the two states, both whole.
    private void PutBack()
    {
        try
        {
            if (_bytes is null)
            {
                FileNames.DeleteDurably(_path);
            }
            else if (ReadFile(_path) is not { } bytes || !bytes.AsSpan().SequenceEqual(_bytes))
            {
                WholeFile.Write(_path, _bytes);
            }
        }
        catch (BlockException)
        {
            // The failure that led here says more.
        }
    }

    // Null where there is no file. A file that can't be read is an error.
    private static byte[]? ReadFile(string path)
    {
        try
        {
            using LocalFile file = LocalFile.Open(path, isReadOnly: true);
            byte[] bytes = new byte[Math.Min(file.LengthBytes, StateFormat.MaximumBytes + 1)];
            file.Read(0, bytes);
            return bytes;
        }
        catch (BlockException e) when (e.Kind == BlockErrors.NotFound)
        {
            return null;
        }
    }

    private BlockException Invalid(StateFault fault) => new(
        HostErrors.StateInvalid,
        fault.IsNewer
            ? $"The host's state '{_path}' can't be used: {fault.Reason}. Start the host with that Fleece or a newer one. The file has " +
                "not been changed."
            : $"The host's state '{_path}' can't be used: {fault.Reason}. {Advice()} The files have not been changed.",
        _path,
        operation: "read");

    private string Advice()
    {
        string previousPath = _path + Previous;
        const string Anew = "move both files away to begin without disks, and mount them again";
        try
        {
            if (ReadFile(previousPath) is { } bytes && format.Parse(bytes, out _, out _) is { } previous)
            {
                string names = previous.Disks.Count == 0 ? "no disks" : string.Join(", ", previous.Disks.Select(disk => disk.Name));
                return FormattableString.Invariant(
                    $"The generation before it, {previous.Generation} of {previous.WrittenAt:u}, is whole and has {names}. ") +
                    $"To go on with it: cp '{previousPath}' '{_path}'. Or {Anew}.";
            }
        }
        catch (BlockException)
        {
            // It can't be read either.
        }

        return $"The copy of the generation before it, '{previousPath}', is missing or can't be used either. Put state.json back from a " +
            $"backup, or {Anew}.";
    }
}
