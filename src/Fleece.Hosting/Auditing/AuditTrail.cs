// SPDX-License-Identifier: MIT
using System.Globalization;
using Fleece.Block.Files;
using Microsoft.Win32.SafeHandles;

namespace Fleece.Hosting.Auditing;

/// <summary>The audit trail of a host: who asked for what, and how it ended, a JSON object a line (docs/host.md).</summary>
/// <remarks>
/// <para>An entry is in the system's memory when the call returns, and outlives the process; it is not made durable. Its file is for its
/// user alone. Beyond <see cref="MaximumFileBytes"/> the file gets a number, the oldest of <see cref="KeptFiles"/> goes, and a new one
/// begins.</para>
/// <para>Threading. All members are safe from any thread. A trail that can't be written holds up no request: it is said once in the host's
/// log, and again when it can.</para>
/// </remarks>
internal sealed class AuditTrail : IDisposable
{
    /// <summary>The file's name in the state directory.</summary>
    public const string FileName = "audit.jsonl";

    /// <summary>Longest file in bytes, but for the entry that passes it.</summary>
    public const long MaximumFileBytes = 16 * 1024 * 1024;

    /// <summary>Most files with numbers.</summary>
    public const int KeptFiles = 8;

    private readonly Lock _lock = new();
    private readonly string _path;
    private readonly long _maximumBytes;
    private readonly Action<string> _say;
    private readonly AuditJournal? _journal;
    private SafeFileHandle? _file;
    private long _lengthBytes;
    private bool _isFailing;
    private bool _isClosed;

    /// <summary>Takes a folder; the file is made with its first entry.</summary>
    /// <param name="folder">The state directory.</param>
    /// <param name="say">Writes a line into the host's log.</param>
    /// <param name="journal">The system's journal, which gets each entry too; null for none.</param>
    /// <param name="maximumFileBytes">See <see cref="MaximumFileBytes"/>; tests take less.</param>
    public AuditTrail(string folder, Action<string> say, AuditJournal? journal = null, long maximumFileBytes = MaximumFileBytes)
    {
        _path = Path.Combine(folder, FileName);
        _maximumBytes = maximumFileBytes;
        _say = say;
        _journal = journal;
    }

    /// <summary>Adds an entry.</summary>
    public void Add(AuditEntry entry)
    {
        ArgumentNullException.ThrowIfNull(entry);
        _journal?.Send(entry);
        byte[] line = [.. entry.ToJson(), (byte)'\n'];
        lock (_lock)
        {
            if (_isClosed)
            {
                return;
            }

            try
            {
                _file ??= Open();
                if (_lengthBytes >= _maximumBytes)
                {
                    Rotate();
                }

                RandomAccess.Write(_file, line, _lengthBytes);
                _lengthBytes += line.Length;
                Tell(failure: null);
            }
            catch (Exception e) when (FileErrors.IsFromSystem(e))
            {
                Tell(e);
            }
        }
    }

    /// <summary>Closes the file; later entries are dropped.</summary>
    public void Dispose()
    {
        lock (_lock)
        {
            _isClosed = true;
            _file?.Dispose();
            _journal?.Dispose();
        }
    }

    // A killed process, or a full file system, may have left half a line.
    private SafeFileHandle Open()
    {
        SafeFileHandle file =
            File.OpenHandle(_path, FileMode.OpenOrCreate, FileAccess.ReadWrite, FileShare.ReadWrite | FileShare.Delete);
        try
        {
            if (!OperatingSystem.IsWindows())
            {
                File.SetUnixFileMode(file, UnixFileMode.UserRead | UnixFileMode.UserWrite);
            }

            _lengthBytes = RandomAccess.GetLength(file);
            byte[] last = new byte[1];
            if (_lengthBytes != 0 && RandomAccess.Read(file, last, _lengthBytes - 1) == 1 && last[0] != (byte)'\n')
            {
                RandomAccess.Write(file, "\n"u8, _lengthBytes);
                _lengthBytes++;
            }

            return file;
        }
        catch
        {
            file.Dispose();
            throw;
        }
    }

    private void Rotate()
    {
        _file?.Dispose();
        _file = null;
        File.Delete(Numbered(KeptFiles));
        for (int number = KeptFiles - 1; number >= 0; number--)
        {
            string from = number == 0 ? _path : Numbered(number);
            if (File.Exists(from))
            {
                FileNames.Move(from, Numbered(number + 1), overwrite: true);
            }
        }

        _file = Open();
    }

    private string Numbered(int number) =>
        Path.ChangeExtension(_path, string.Create(CultureInfo.InvariantCulture, $".{number}{Path.GetExtension(_path)}"));

    private void Tell(Exception? failure)
    {
        if (_isFailing == (failure is not null))
        {
            return;
        }

        _isFailing = failure is not null;
        _say(failure is null
            ? $"the audit trail '{_path}' is written again; what was asked for meanwhile is not in it"
            : $"the audit trail '{_path}' can't be written, and requests go on without: {failure.Message}");
    }
}
