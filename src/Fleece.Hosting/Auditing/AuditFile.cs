// SPDX-License-Identifier: MIT
using System.Globalization;
using System.Text.Json;
using Fleece.Block.Files;
using Microsoft.Win32.SafeHandles;

namespace Fleece.Hosting.Auditing;

/// <summary>The file of an audit trail, and the older ones with numbers: whole lines and nothing else.</summary>
/// <remarks>
/// <para>A line that could not be written whole, on a full file system or by a process that was killed, is cut off: at once, or before the
/// next line where the cut fails too. A file that was renamed or deleted gets no more lines, and a new one begins at its name.</para>
/// <para>Threading. One call at a time.</para>
/// </remarks>
/// <param name="path">Where; the file is made with its first line, for its user alone.</param>
/// <param name="maximumBytes">Longest file in bytes, but for the line that passes it.</param>
internal sealed class AuditFile(string path, long maximumBytes) : IDisposable
{
    /// <summary>Most files with numbers.</summary>
    public const int KeptFiles = 8;

    private const byte LineEnd = (byte)'\n';
    private const int SearchBytes = 64 * 1024;

    // Far beyond the entry of the longest request.
    private const int MaximumLineBytes = 16 * 1024 * 1024;

    private SafeFileHandle? _file;
    private long _lengthBytes;

    /// <summary>Where it is.</summary>
    public string Path => path;

    /// <summary>Adds whole lines: all of them or, when it throws what the system says, none.</summary>
    public void Append(ReadOnlySpan<byte> lines)
    {
        if (_file is not null && !HasItsName(_file))
        {
            Dispose();
        }

        _file ??= Open();
        if (RandomAccess.GetLength(_file) != _lengthBytes)
        {
            // The last cut has failed, or another program has cut the file or added to it.
            _lengthBytes = CutTornEnd(_file);
        }

        if (_lengthBytes >= maximumBytes)
        {
            Rotate();
        }

        try
        {
            RandomAccess.Write(_file, lines, _lengthBytes);
        }
        catch (Exception e) when (FileErrors.IsFromSystem(e))
        {
            TryCut(_file);
            throw;
        }

        _lengthBytes += lines.Length;
    }

    /// <summary>Closes the file; the next line opens it again.</summary>
    public void Dispose()
    {
        _file?.Dispose();
        _file = null;
    }

    // Other programs, such as logrotate, move files away under the process that writes to them.
    private bool HasItsName(SafeFileHandle file) => !OperatingSystem.IsLinux() || !PosixStat.TryLook(file, out PosixStat.FileLook opened)
        ? File.Exists(path)
        : PosixStat.TryLookHere(path, out PosixStat.FileLook look) && look.IsSameFile(opened);

    private SafeFileHandle Open()
    {
        SafeFileHandle file =
            File.OpenHandle(path, FileMode.OpenOrCreate, FileAccess.ReadWrite, FileShare.ReadWrite | FileShare.Delete);
        try
        {
            if (!OperatingSystem.IsWindows())
            {
                File.SetUnixFileMode(file, UnixFileMode.UserRead | UnixFileMode.UserWrite);
            }

            _lengthBytes = CutTornEnd(file);
            return file;
        }
        catch
        {
            file.Dispose();
            throw;
        }
    }

    private void TryCut(SafeFileHandle file)
    {
        try
        {
            RandomAccess.SetLength(file, _lengthBytes);
        }
        catch (Exception e) when (FileErrors.IsFromSystem(e))
        {
            // The length is another one than it should be, which the next line sees.
        }
    }

    private static long CutTornEnd(SafeFileHandle file)
    {
        long lengthBytes = RandomAccess.GetLength(file);
        long wholeBytes = FindEndOfEntries(file, lengthBytes);
        if (wholeBytes != lengthBytes)
        {
            RandomAccess.SetLength(file, wholeBytes);
        }

        return wholeBytes;
    }

    // Where the last line ends that is an entry. One that is none, such as the rest of an overwritten one, is torn as well.
    private static long FindEndOfEntries(SafeFileHandle file, long lengthBytes)
    {
        long endBytes = FindLineEnd(file, lengthBytes);
        if (endBytes == 0)
        {
            return 0;
        }

        long startBytes = FindLineEnd(file, endBytes - 1);
        return IsEntry(file, startBytes, endBytes - startBytes) ? endBytes : startBytes;
    }

    // The end of the last line that lies before an offset; 0 for none.
    private static long FindLineEnd(SafeFileHandle file, long beforeBytes)
    {
        byte[] buffer = new byte[SearchBytes];
        for (long endBytes = beforeBytes; endBytes > 0;)
        {
            long startBytes = Math.Max(0, endBytes - SearchBytes);
            Span<byte> piece = buffer.AsSpan(0, (int)(endBytes - startBytes));
            Read(file, piece, startBytes);
            int index = piece.LastIndexOf(LineEnd);
            if (index >= 0)
            {
                return startBytes + index + 1;
            }

            endBytes = startBytes;
        }

        return 0;
    }

    private static bool IsEntry(SafeFileHandle file, long offsetBytes, long lengthBytes)
    {
        if (lengthBytes > MaximumLineBytes)
        {
            return false;
        }

        byte[] line = new byte[lengthBytes];
        Read(file, line, offsetBytes);
        try
        {
            using JsonDocument entry = JsonDocument.Parse(line);
            return entry.RootElement.ValueKind == JsonValueKind.Object;
        }
        catch (JsonException)
        {
            return false;
        }
    }

    private static void Read(SafeFileHandle file, Span<byte> buffer, long offsetBytes)
    {
        for (int doneBytes = 0; doneBytes < buffer.Length;)
        {
            int readBytes = RandomAccess.Read(file, buffer[doneBytes..], offsetBytes + doneBytes);
            doneBytes += readBytes != 0 ? readBytes : throw new EndOfStreamException("The audit trail is being cut by another program.");
        }
    }

    private void Rotate()
    {
        Dispose();
        File.Delete(Numbered(KeptFiles));
        for (int number = KeptFiles - 1; number >= 0; number--)
        {
            string from = number == 0 ? path : Numbered(number);
            if (File.Exists(from))
            {
                FileNames.Move(from, Numbered(number + 1), overwrite: true);
            }
        }

        _file = Open();
    }

    private string Numbered(int number) => System.IO.Path.ChangeExtension(
        path, string.Create(CultureInfo.InvariantCulture, $".{number}{System.IO.Path.GetExtension(path)}"));
}
