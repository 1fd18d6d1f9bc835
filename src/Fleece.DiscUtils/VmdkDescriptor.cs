// SPDX-License-Identifier: MIT
using System.Globalization;
using System.Text;
using System.Text.RegularExpressions;
using Fleece.Block;
using Fleece.Block.Files;

namespace Fleece.DiscUtils;

/// <summary>What a VMDK's descriptor says of its extents, for the checks that DiscUtils leaves out.</summary>
/// <remarks>Layout: VMware's Virtual Disk Format 5.0, "The Descriptor File".</remarks>
internal sealed partial class VmdkDescriptor
{
    /// <summary>Longest descriptor, in bytes; VMware's have some hundred.</summary>
    public const int MaximumBytes = 64 * 1024;

    private const int SectorBytes = 512;

    private readonly string _path;
    private readonly List<Match> _extents;

    /// <summary>Reads a descriptor that is a file of its own.</summary>
    /// <exception cref="BlockException">Corrupt, Unsupported.</exception>
    public VmdkDescriptor(LocalFile file)
    {
        _path = file.Path;
        if (file.LengthBytes > MaximumBytes)
        {
            throw Fault(
                BlockErrorKind.Corrupt,
                $"has {file.LengthBytes} bytes, and a descriptor has {MaximumBytes} at most. If it is a raw disk that only looks like one, " +
                "name the format with -Format Raw.");
        }

        byte[] bytes = new byte[file.LengthBytes];
        file.Read(0, bytes);
        string text = Encoding.Latin1.GetString(bytes);
        Match parent = ParentLine().Match(text);
        if (parent.Success && !parent.Groups[1].Value.Equals("ffffffff", StringComparison.OrdinalIgnoreCase))
        {
            // DiscUtils would not notice that the parent was changed, and read wrong data.
            throw Fault(BlockErrorKind.Unsupported, "is a differencing image, which is not read. Merge it with its parent first.");
        }

        _extents = [.. ExtentLine().Matches(text).Cast<Match>()];
        if (_extents.Count == 0)
        {
            throw Fault(BlockErrorKind.Corrupt, "is a descriptor without an extent. Restore it from a copy.");
        }

        IsFixed = true;
        foreach (Match extent in _extents)
        {
            IsFixed &= CheckLine(extent);
        }
    }

    /// <summary>True when every extent is stored whole.</summary>
    public bool IsFixed { get; }

    /// <summary>Checks a file against all the extents that it is to hold.</summary>
    public void CheckExtent(string name, LocalFile file)
    {
        foreach (Match extent in _extents)
        {
            if (extent.Groups["name"].Value != name)
            {
                continue;
            }

            long sectors = SectorsOf(extent);
            bool isSparse = extent.Groups["type"].Value == "SPARSE";
            long foundSectors = isSparse ? ForeignHeaders.CheckSparseExtent(file) : file.LengthBytes / SectorBytes;
            if (foundSectors != sectors || (!isSparse && file.LengthBytes % SectorBytes != 0))
            {
                throw Fault(
                    BlockErrorKind.Corrupt,
                    $"says that '{name}' holds {sectors} sectors, and it holds {foundSectors}. Restore both from a copy.");
            }
        }
    }

    // Where the data begins within a flat file is something that DiscUtils does not heed.
    private bool CheckLine(Match extent)
    {
        string type = extent.Groups["type"].Value;
        string offset = extent.Groups["offset"].Value;
        bool isFlat = type is "FLAT" or "VMFS";
        if (!isFlat && type is not ("SPARSE" or "ZERO"))
        {
            throw Fault(BlockErrorKind.Unsupported, $"has an extent of type '{type}'; FLAT, VMFS, SPARSE and ZERO are read.");
        }

        if (offset.Length != 0 && offset.Trim('0').Length != 0)
        {
            throw Fault(
                BlockErrorKind.Unsupported,
                $"has its data from sector {offset} of '{extent.Groups["name"].Value}' on; only files that are the extent's alone are read.");
        }

        _ = SectorsOf(extent);
        return isFlat;
    }

    private long SectorsOf(Match extent) =>
        long.TryParse(extent.Groups["sectors"].Value, NumberStyles.None, CultureInfo.InvariantCulture, out long sectors)
        && sectors is > 0 and <= ForeignHeaders.MaximumDiskBytes / SectorBytes
            ? sectors
            : throw Fault(BlockErrorKind.Corrupt, $"has an extent of {extent.Groups["sectors"].Value} sectors. Restore it from a copy.");

    private BlockException Fault(BlockErrorKind kind, string what) => new(kind, $"The VMDK image '{_path}' {what}", _path);

    [GeneratedRegex(
        """^[ \t]*(?:RW|RDONLY|NOACCESS)[ \t]+(?<sectors>\d+)[ \t]+(?<type>\w+)(?:[ \t]+"(?<name>[^"\r\n]*)"(?:[ \t]+(?<offset>\d+))?)?""",
        RegexOptions.Multiline)]
    private static partial Regex ExtentLine();

    [GeneratedRegex("""^[ \t]*parentCID[ \t]*=[ \t]*(\w+)""", RegexOptions.Multiline)]
    private static partial Regex ParentLine();
}
