// SPDX-License-Identifier: MIT
using System.Globalization;
using System.Text;
using System.Text.RegularExpressions;
using Fleece.Block;
using Fleece.Block.Files;
using Fleece.Images;

namespace Fleece.DiscUtils;

/// <summary>A VMDK's descriptor that is a file of its own: its extents, and the checks that DiscUtils leaves out.</summary>
/// <remarks>Layout: VMware's Virtual Disk Format 5.0, "The Descriptor File". Text is cut into lines and fields as DiscUtils does it, so
/// that nothing which it reads has escaped the checks.</remarks>
internal sealed partial class VmdkDescriptor
{
    // DiscUtils reads no more; VMware's have some hundred bytes.
    private const int MaximumBytes = 20 * 1024;

    private static readonly char[] LineEnds = ['\r', '\n', '\0'];
    private static readonly string[] Accesses = ["RW", "RDONLY", "NOACCESS"];

    // Not monolithicSparse and streamOptimized: DiscUtils would take the descriptor itself for their extent.
    private static readonly string[] Kinds = ["monolithicFlat", "twoGbMaxExtentFlat", "twoGbMaxExtentSparse", "vmfs"];

    private readonly string _path;

    /// <summary>Reads and checks a descriptor.</summary>
    /// <exception cref="BlockException">Corrupt, Unsupported; read errors.</exception>
    public VmdkDescriptor(LocalFile file)
    {
        _path = file.Path;
        if (file.LengthBytes > MaximumBytes)
        {
            throw Fault(
                ImageErrors.Corrupt,
                $"has {file.LengthBytes} bytes, and a descriptor has {MaximumBytes} at most. If it is a raw disk that only looks like " +
                "one, name Raw as its format.");
        }

        byte[] bytes = new byte[file.LengthBytes];
        file.Read(0, bytes);
        string[] lines = Encoding.UTF8.GetString(bytes).Split(LineEnds, StringSplitOptions.TrimEntries);
        if (ValueOf(lines, "parentCID") is { } parent && !parent.Equals("ffffffff", StringComparison.OrdinalIgnoreCase))
        {
            // DiscUtils would not notice that the parent was changed, and read wrong data.
            throw Fault(BlockErrors.Unsupported, "is a differencing image, which is not read. Merge it with its parent first.");
        }

        if (ValueOf(lines, "createType") is not { } kind || !Kinds.Contains(kind))
        {
            throw Fault(
                BlockErrors.Unsupported,
                $"has the createType '{ValueOf(lines, "createType")}'; {string.Join(", ", Kinds)} are read from a descriptor.");
        }

        Extents = [.. lines
            .Where(line => Array.Exists(Accesses, access => line.StartsWith(access, StringComparison.OrdinalIgnoreCase)))
            .Select(ReadExtent)];
        if (Extents.Count == 0)
        {
            throw Fault(ImageErrors.Corrupt, "is a descriptor without an extent. Restore it from a copy.");
        }

        if (Extents.Sum(extent => extent.LengthBytes) > ImageHeader.MaximumDiskBytes)
        {
            throw Fault(BlockErrors.Unsupported, $"has more than the {ImageHeader.MaximumDiskBytes} bytes that are read.");
        }
    }

    /// <summary>The extents in the disk's order.</summary>
    public IReadOnlyList<VmdkExtent> Extents { get; }

    // Of the first line with the key, as DiscUtils.
    private static string? ValueOf(string[] lines, string key) =>
        lines.Select(line => line.Split('=')).FirstOrDefault(parts => parts.Length > 1 && parts[0].TrimEnd() == key)?[1].Trim().Trim('"');

    private VmdkExtent ReadExtent(string line)
    {
        Match match = ExtentLine().Match(line);
        if (!match.Success
            || !long.TryParse(match.Groups["sectors"].Value, NumberStyles.None, CultureInfo.InvariantCulture, out long sectors)
            || sectors is <= 0 or > ImageHeader.MaximumDiskBytes / ImageHeader.SectorBytes)
        {
            throw Fault(ImageErrors.Corrupt, $"has the extent '{line}', which can't be. Restore it from a copy.");
        }

        VmdkExtent extent = new(sectors * ImageHeader.SectorBytes, match.Groups["type"].Value, match.Groups["name"].Value);
        if (!extent.IsFlat && !extent.IsSparse && !extent.IsZero)
        {
            throw Fault(BlockErrors.Unsupported, $"has an extent of type '{extent.Type}'; FLAT, VMFS, SPARSE and ZERO are read.");
        }

        // Where the data begins within a flat file is something that DiscUtils does not heed.
        string offset = match.Groups["offset"].Value;
        return offset.Trim('0').Length == 0 ? extent : throw Fault(
            BlockErrors.Unsupported,
            $"has its data from sector {offset} of '{extent.Name}' on; only files that are the extent's alone are read.");
    }

    private BlockException Fault(string kind, string what) => new(kind, $"The VMDK image '{_path}' {what}", _path);

    [GeneratedRegex("""^(?:RW|RDONLY|NOACCESS) +(?<sectors>\d+) +(?<type>\w+) +"(?<name>[^"]*)"(?: +(?<offset>\d+))?$""")]
    private static partial Regex ExtentLine();
}

/// <summary>One line of a descriptor: a part of the disk and where it is stored.</summary>
/// <param name="LengthBytes">Size of the part, in bytes.</param>
/// <param name="Type">How it is stored.</param>
/// <param name="Name">The file's name.</param>
internal sealed record VmdkExtent(long LengthBytes, string Type, string Name)
{
    public bool IsFlat => Type is "FLAT" or "VMFS";

    public bool IsSparse => Type == "SPARSE";

    public bool IsZero => Type == "ZERO";
}
